"use strict";

// The drawing area: strokes by mouse, finger, pen or keyboard.

const INK_SIZE = 140; // side of the picture that `toMnistStyle` gets: seven pixels for each of the 20
const PEN_WIDTH = 0.075; // of the side: about what a pen leaves on MNIST's images
const KEYBOARD_STEP = 0.04;

class Drawing {
  /** Calls `changed` after every change of the drawing. */
  constructor(canvas, changed) {
    this.canvas = canvas;
    this.changed = changed;
    this.strokes = []; // each a list of points [x, y] from 0 to 1
    this.pointer = null; // the one that draws
    this.pen = { x: 0.5, y: 0.25, down: false, shown: false }; // of the keyboard
    this.picture = null; // 28 x 28 grey values shown in place of strokes
    this.ink = document.createElement("canvas");
    this.ink.width = this.ink.height = INK_SIZE;
    this.inkContext = this.ink.getContext("2d", { willReadFrequently: true });
    canvas.addEventListener("pointerdown", (event) => this.begin(event));
    canvas.addEventListener("pointermove", (event) => this.move(event));
    for (const name of ["pointerup", "pointercancel"]) {
      canvas.addEventListener(name, (event) => {
        if (event.pointerId === this.pointer) this.pointer = null;
      });
    }
    canvas.addEventListener("keydown", (event) => this.key(event));
    canvas.addEventListener("blur", () => {
      Object.assign(this.pen, { down: false, shown: false });
      this.draw();
    });
    this.draw();
  }

  get isEmpty() {
    return this.picture === null && this.strokes.length === 0;
  }

  clear() {
    this.strokes = [];
    this.picture = null;
    this.update();
  }

  undo() {
    this.strokes.pop();
    this.picture = null;
    this.update();
  }

  /** Shows an image of 28 x 28 grey values instead of strokes. */
  show(picture) {
    this.strokes = [];
    this.picture = picture;
    this.update();
  }

  /** Returns the grey values of the strokes, INK_SIZE x INK_SIZE. */
  grey() {
    const { data } = this.inkContext.getImageData(0, 0, INK_SIZE, INK_SIZE);
    const grey = new Uint8Array(INK_SIZE * INK_SIZE);
    for (let i = 0; i < grey.length; i++) grey[i] = data[4 * i];
    return grey;
  }

  begin(event) {
    if (this.pointer !== null || event.button !== 0) return;
    this.pointer = event.pointerId;
    this.canvas.setPointerCapture(event.pointerId);
    this.startStroke(this.place(event));
  }

  move(event) {
    if (event.pointerId !== this.pointer) return;
    const events = event.getCoalescedEvents?.() ?? [];
    for (const each of events.length ? events : [event]) this.strokes.at(-1).push(this.place(each));
    this.update();
  }

  key(event) {
    const moves = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    const pen = this.pen;
    if (event.key in moves) {
      const step = KEYBOARD_STEP / (event.shiftKey ? 4 : 1);
      pen.x = Math.min(1, Math.max(0, pen.x + step * moves[event.key][0]));
      pen.y = Math.min(1, Math.max(0, pen.y + step * moves[event.key][1]));
      pen.shown = true;
      if (pen.down) this.strokes.at(-1).push([pen.x, pen.y]);
    } else if (event.key === " ") {
      pen.down = !pen.down;
      pen.shown = true;
      if (pen.down) this.startStroke([pen.x, pen.y]);
    } else if (event.key === "Delete" || event.key === "Backspace") {
      pen.down = false;
      this.clear();
    } else {
      return;
    }
    event.preventDefault();
    this.update();
  }

  startStroke(point) {
    this.picture = null;
    this.strokes.push([point]);
    this.update();
  }

  place(event) {
    const box = this.canvas.getBoundingClientRect();
    return [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
  }

  update() {
    this.draw();
    this.changed();
  }

  draw() {
    this.drawStrokes(this.inkContext, INK_SIZE);
    const context = this.canvas.getContext("2d"), size = this.canvas.width;
    this.drawStrokes(context, size);
    if (this.picture) {
      context.imageSmoothingEnabled = false;
      context.drawImage(pictureCanvas(this.picture), 0, 0, size, size);
    }
    if (this.pen.shown) {
      context.beginPath();
      context.arc(this.pen.x * size, this.pen.y * size, (PEN_WIDTH * size) / 2, 0, 2 * Math.PI);
      context.lineWidth = 4;
      context.strokeStyle = this.pen.down ? "#ff9b5c" : "#8db4ff";
      context.stroke();
    }
  }

  drawStrokes(context, size) {
    context.fillStyle = "#000";
    context.fillRect(0, 0, size, size);
    context.strokeStyle = "#fff";
    context.lineWidth = PEN_WIDTH * size;
    context.lineCap = context.lineJoin = "round";
    for (const [first, ...others] of this.strokes) {
      context.beginPath();
      context.moveTo(first[0] * size, first[1] * size);
      for (const [x, y] of others.length ? others : [first]) context.lineTo(x * size, y * size);
      context.stroke();
    }
  }
}

/** Returns a canvas of 28 x 28 with these grey values. */
function pictureCanvas(grey, canvas = document.createElement("canvas")) {
  canvas.width = canvas.height = SIDE;
  const image = new ImageData(SIDE, SIDE), pixels = new Uint32Array(image.data.buffer);
  for (let i = 0; i < grey.length; i++) pixels[i] = 0xff000000 | (grey[i] * 0x010101);
  canvas.getContext("2d").putImageData(image, 0, 0);
  return canvas;
}
