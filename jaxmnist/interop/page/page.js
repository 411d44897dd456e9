"use strict";

// The page: runs the network on the drawing and shows the result.

const data = JSON.parse(document.getElementById("data").textContent);
const { about } = data;
const network = new Network(data);
const image = new Uint8Array(SIDE * SIDE); // the drawing, prepared as the training images were
const MOST_BARS = 10; // with more classes there are bars for the likeliest only

const element = (id) => document.getElementById(id);
const percent = (share, digits = 1) => `${(100 * share).toFixed(digits)} %`;

const drawing = new Drawing(element("drawing"), schedule);
element("bars").classList.toggle("words", about.classes.some((name) => name.length > 1));
const bars = about.classes.slice(0, MOST_BARS).map(makeBar);
const maps = new FeatureMaps(element("layers"), data.layers, network);

let scheduled = false;
let lastSeconds = 0;
let announcement = 0;

describe();
makeSamples();
drawScale(element("scale"));
element("clear").addEventListener("click", () => drawing.clear());
element("undo").addEventListener("click", () => drawing.undo());
if (about.is_digits) takeImages();
element("between").addEventListener("change", (event) => {
  maps.showBetween(event.target.checked);
  maps.layOut();
});
predict();
const firstSeconds = lastSeconds;
setTimeout(check, 50);

/** Predicts once before the screen is drawn next; a slow network leaves the pen some time in between. */
function schedule() {
  if (scheduled) return;
  scheduled = true;
  const begin = () => requestAnimationFrame(() => {
    scheduled = false;
    predict();
  });
  if (lastSeconds < 0.03) begin();
  else setTimeout(begin, 1000 * lastSeconds);
}

/** Reads the drawing, runs the network and shows its answer. */
function predict() {
  const began = performance.now();
  image.set(drawing.picture ?? prepared(drawing.grey()));
  const probabilities = network.run(image);
  pictureCanvas(seenImage(), element("seen"));
  showAnswer(calibrated(probabilities));
  maps.draw();
  lastSeconds = (performance.now() - began) / 1000;
}

/** Returns probabilities of the logits divided by the temperature that calibrates them. */
function calibrated(probabilities) {
  const powers = Array.from(probabilities, (share) => share ** (1 / (about.temperature ?? 1)));
  const total = powers.reduce((a, b) => a + b, 0);
  return powers.map((power) => power / total);
}

/** Takes images by button, camera, drop and paste. */
function takeImages() {
  const first = (files) => Array.from(files ?? []).find((file) => file.type.startsWith("image/"));
  for (const [button, input] of [["open", "file"], ["shoot", "photo"]]) {
    element(button).addEventListener("click", () => element(input).click());
    element(input).addEventListener("change", ({ target }) => {
      showImage(first(target.files));
      target.value = ""; // so that the same file can be chosen again
    });
  }
  element("shoot").hidden = !matchMedia("(pointer: coarse)").matches;
  addEventListener("dragover", (event) => event.preventDefault());
  addEventListener("drop", (event) => {
    event.preventDefault();
    showImage(first(event.dataTransfer?.files));
  });
  addEventListener("paste", (event) => showImage(first(event.clipboardData?.files)));
}

/** Shows the digit in an image file, prepared as the training images were. */
async function showImage(file) {
  if (!file) return;
  try {
    drawing.show(toDigit(await greyOf(file), about.side));
  } catch {
    element("status").textContent = `${file.name || "The image"} cannot be read; save it as PNG or JPEG.`;
    element("draw-hint").textContent = element("status").textContent;
  }
}

/** Returns the grey values (ITU-R 601) of an image file, upright; large ones scaled down. */
async function greyOf(file) {
  const bitmap = await createImageBitmap(file);
  const scale = Math.min(1, 1024 / Math.max(bitmap.width, bitmap.height));
  const [width, height] = [bitmap.width, bitmap.height].map((side) => Math.max(1, Math.round(side * scale)));
  const canvas = Object.assign(document.createElement("canvas"), { width, height });
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.fillStyle = "#fff";
  context.fillRect(0, 0, width, height);
  context.imageSmoothingQuality = "high";
  context.drawImage(bitmap, 0, 0, width, height);
  const { data } = context.getImageData(0, 0, width, height);
  const pixels = new Uint8Array(width * height);
  for (let i = 0; i < pixels.length; i++) {
    pixels[i] = (data[4 * i] * 19595 + data[4 * i + 1] * 38470 + data[4 * i + 2] * 7471 + 32768) >> 16;
  }
  return { pixels, width, height };
}

function prepared(grey) {
  return about.fit === "mnist" ? toMnistStyle(grey, INK_SIZE, about.side) : averages(grey, INK_SIZE);
}

/** Returns the grey values of the latest image as the network sees it, perhaps made upright. */
function seenImage() {
  const values = network.value(data.seen);
  return Uint8ClampedArray.from(values, (value) => 255 * (value * about.std + about.mean));
}

function showAnswer(probabilities) {
  const empty = drawing.isEmpty;
  const best = probabilities.indexOf(Math.max(...probabilities));
  const [name, share] = [about.classes[best], probabilities[best]];
  element("answer-class").textContent = empty ? "–" : name;
  element("answer-class").classList.toggle("word", !empty && name.length > 1);
  element("answer-share").textContent = empty ? "nothing drawn yet" : percent(share);
  const shown = about.classes.map((_, i) => i);
  if (shown.length > bars.length && !empty) shown.sort((a, b) => probabilities[b] - probabilities[a]);
  bars.forEach(({ item, label, fill, text }, position) => {
    const i = shown[position];
    label.textContent = label.title = about.classes[i];
    item.classList.toggle("best", !empty && i === best);
    fill.style.setProperty("--share", empty ? 0 : probabilities[i]);
    text.textContent = empty ? "" : percent(probabilities[i]);
  });
  element("draw-hint").hidden = !empty;
  element("undo").disabled = drawing.strokes.length === 0;
  // Announced when the drawing rests, not at each movement.
  clearTimeout(announcement);
  announcement = setTimeout(() => {
    element("status").textContent = empty ? "Nothing drawn." : `Looks like ${name}, ${percent(share, 0)}.`;
  }, 600);
}

function makeBar() {
  const [item, label, track, fill, text] = ["li", "span", "div", "div", "span"].map((tag) => document.createElement(tag));
  label.className = "name";
  track.className = "track";
  fill.className = "fill";
  text.className = "share";
  track.append(fill);
  item.append(label, track, text);
  element("bars").append(item);
  return { item, label, fill, text };
}

function makeSamples() {
  for (const sample of data.samples) {
    sample.grey = bytesFromBase64(sample.pixels);
    const button = document.createElement("button");
    button.type = "button";
    button.setAttribute("aria-label", `Test image of ${about.classes[sample.label]}`);
    const canvas = pictureCanvas(sample.grey);
    canvas.className = "pixels";
    button.append(canvas);
    button.addEventListener("click", () => drawing.show(sample.grey));
    element("samples").append(button);
  }
}

function describe() {
  const few = about.classes.length <= 5;
  const names = few ? about.classes.join(", ").replace(/, ([^,]*)$/, " or $1") : `the ${about.classes.length} classes`;
  const what = about.is_digits ? "a digit" : few ? names : `one of ${names}`;
  const layers = data.layers.filter(({ kind }) => kind === "Conv" || kind === "Dense").length;
  element("arch").textContent = about.arch;
  element("lead").textContent = `Draw ${what} and watch ${about.parameters.toLocaleString("en")} numbers decide what it is.`;
  element("draw-title").textContent = `Draw ${what}`;
  element("draw-hint").textContent = "Draw here";
  element("side").textContent = `${about.side}\u00a0×\u00a0${about.side}`;
  const seen = about.fit === "mnist" ? "scaled and centred, " : "";
  element("seen").setAttribute("aria-label", `The drawing, ${seen}as 28 by 28 grey pixels`);
  for (const [name, shown] of [["centred", about.fit === "mnist"], ["averaged", about.fit !== "mnist"]]) {
    element(name).hidden = !shown;
  }
  for (const item of document.querySelectorAll("[data-digits]")) {
    item.hidden = (item.dataset.digits === "true") !== about.is_digits;
  }
  element("upright").hidden = !about.deskew;
  element("rescaled").hidden = !about.rescale;
  element("tilted").hidden = !about.tilt;
  element("degrees").textContent = about.tilt;
  element("training").textContent = about.training_text;
  element("accuracy").textContent = about.accuracy_text;
  const facts = [
    ["parameters", about.parameters.toLocaleString("en")],
    [`of ${about.examples.toLocaleString("en")} test images of ${about.dataset} right`, `${about.accuracy.toFixed(2)} %`],
    ["layers with weights", layers],
    ["trained on", about.trained_on],
  ];
  for (const [name, value] of facts.filter(([, value]) => value !== null)) {
    const [group, term, detail] = ["div", "dt", "dd"].map((tag) => document.createElement(tag));
    term.textContent = name;
    detail.textContent = value;
    group.append(term, detail);
    element("facts").append(group);
  }
}

/** Compares this page's probabilities of the test images with those that JAX computed when the page was made. */
function check() {
  const mine = new Network(data);
  let largest = 0;
  for (const { grey, probabilities } of data.samples) {
    const given = mine.run(grey);
    for (let i = 0; i < given.length; i++) largest = Math.max(largest, Math.abs(given[i] - probabilities[i]));
  }
  const count = data.samples.length;
  element("check").textContent =
    largest <= 1e-4
      ? `Checked on your device: for the ${count} test images this page gives the probabilities of the program that ` +
        `trained the network (largest difference ${largest.toExponential(0)}). Made by jaxmnist.`
      : `Something is wrong: on your device the probabilities are off by ${largest.toPrecision(2)}. Made by jaxmnist.`;
}
