"use strict";

// The feature maps of the layers: one canvas per layer, a small square of it for each value.

const GAP = 2; // pixels between maps

// From 255 below zero to 255 above it: blue, black, orange; told apart with any kind of colour vision.
const PALETTE = makePalette([[214, 238, 255], [64, 150, 240], [14, 40, 96], [8, 8, 12], [110, 40, 6], [240, 130, 40], [255, 240, 205]]);

const KINDS = {
  Conv: "convolution",
  Dense: "linear layer",
  BatchNorm: "normalisation",
  GroupNorm: "normalisation",
  Activation: "activation",
  MaxPool: "pooling",
  GlobalAverage: "average",
};

class FeatureMaps {
  /** Adds a figure for each layer to `parent`. */
  constructor(parent, layers, network) {
    this.network = network;
    this.figures = layers.map((layer) => new LayerFigure(parent, layer));
    // Only what is on the screen is drawn.
    this.observer = new IntersectionObserver((entries) => {
      for (const entry of entries) {
        const figure = this.figures.find(({ element }) => element === entry.target);
        figure.visible = entry.isIntersecting;
        if (figure.visible) figure.draw(this.network);
      }
    }, { rootMargin: "100px" });
    for (const { element } of this.figures) this.observer.observe(element);
    new ResizeObserver(() => this.layOut()).observe(parent);
    this.layOut();
  }

  draw() {
    for (const figure of this.figures) if (figure.visible) figure.draw(this.network);
  }

  layOut() {
    for (const figure of this.figures) figure.layOut(this.network);
  }

  /** Shows or hides normalisations and activations. */
  showBetween(shown) {
    for (const { layer, element } of this.figures) {
      element.hidden = !shown && ["BatchNorm", "GroupNorm", "Activation"].includes(layer.kind);
    }
  }
}

class LayerFigure {
  constructor(parent, layer) {
    this.layer = layer;
    this.visible = false;
    this.columns = 0;
    const [channels, height, width] = layer.shape;
    const size = height * width > 1 ? `${channels} maps of ${height} × ${width}` : `${channels} values`;
    const parameters = `${layer.parameters.toLocaleString("en")} parameters`;
    this.element = document.createElement("figure");
    this.element.className = "layer";
    const caption = document.createElement("figcaption");
    const name = document.createElement("strong");
    name.textContent = layer.name;
    caption.append(name, ` ${KINDS[layer.kind] ?? layer.kind}`, document.createElement("br"), size);
    if (layer.parameters) caption.append(document.createElement("br"), parameters);
    const maps = document.createElement("div");
    maps.className = "maps";
    this.canvas = document.createElement("canvas");
    this.canvas.setAttribute("role", "img");
    this.canvas.setAttribute("aria-label", `Feature maps of ${layer.name}: ${size}`);
    maps.append(this.canvas);
    this.element.append(caption, maps);
    parent.append(this.element);
  }

  /** Puts as many maps in a line as there is room for. */
  layOut(network) {
    const [channels, height, width] = this.layer.shape;
    const room = this.canvas.parentElement.clientWidth;
    if (!room) return; // hidden
    const tile = parseFloat(getComputedStyle(document.documentElement).getPropertyValue("--tile"));
    this.zoom = Math.max(1, Math.round((width > 1 ? tile : tile / 2) / width)); // pixels for each value
    const columns = Math.max(1, Math.min(channels, Math.floor((room + GAP) / (width * this.zoom + GAP))));
    if (columns === this.columns) return;
    this.columns = columns;
    this.canvas.width = columns * (width * this.zoom + GAP) - GAP;
    this.canvas.height = Math.ceil(channels / columns) * (height * this.zoom + GAP) - GAP;
    this.image = new ImageData(this.canvas.width, this.canvas.height);
    this.pixels = new Uint32Array(this.image.data.buffer);
    this.draw(network);
  }

  draw(network) {
    if (!this.columns) return;
    const [channels, height, width] = this.layer.shape;
    const values = network.value(this.layer.value);
    let largest = 1e-9;
    for (let i = 0; i < values.length; i++) largest = Math.max(largest, Math.abs(values[i]));
    const factor = 255 / largest, zoom = this.zoom;
    const stepX = width * zoom + GAP, stepY = height * zoom + GAP, line = this.canvas.width;
    for (let channel = 0, i = 0; channel < channels; channel++) {
      const left = (channel % this.columns) * stepX, top = Math.floor(channel / this.columns) * stepY;
      for (let y = 0; y < height; y++) {
        for (let x = 0; x < width; x++, i++) {
          const colour = PALETTE[255 + Math.round(values[i] * factor)];
          const start = (top + y * zoom) * line + left + x * zoom;
          for (let k = 0; k < zoom; k++) {
            for (let l = 0; l < zoom; l++) this.pixels[start + k * line + l] = colour;
          }
        }
      }
    }
    this.canvas.getContext("2d").putImageData(this.image, 0, 0);
  }
}

/** Returns 511 colours, evenly spaced through the given ones, as the 32 bits of a pixel. */
function makePalette(stops) {
  const bytes = new Uint8ClampedArray(511 * 4);
  for (let i = 0; i < 511; i++) {
    const place = (i / 510) * (stops.length - 1), below = Math.min(Math.floor(place), stops.length - 2);
    for (let c = 0; c < 3; c++) {
      bytes[4 * i + c] = stops[below][c] + (place - below) * (stops[below + 1][c] - stops[below][c]);
    }
    bytes[4 * i + 3] = 255;
  }
  return new Uint32Array(bytes.buffer);
}

function drawScale(canvas) {
  const image = new ImageData(255, 1), pixels = new Uint32Array(image.data.buffer);
  for (let i = 0; i < 255; i++) pixels[i] = PALETTE[2 * i + 1];
  canvas.getContext("2d").putImageData(image, 0, 0);
}
