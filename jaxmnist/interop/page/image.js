"use strict";

// Drawings in the style of MNIST (LeCun, Cortes and Burges): the ink is scaled into a box of 20 x 20 pixels, and its
// centre of mass is moved to the middle of 28 x 28. The steps are those of jaxmnist/data/mnist_style.py, the resampling
// is that of Pillow.

const SIDE = 28;
const FAINT = 51; // a fifth of the range from ground to ink; shadows stay below it

/**
 * Returns 28 x 28 grey values of a drawing, light ink on black.
 *
 * @param {Uint8Array} drawing  grey values of a square, row by row
 * @param {number} size  side of the square
 * @param {number} side  longer side of the box that the ink is scaled into
 */
function toMnistStyle(drawing, size, side) {
  const strongest = drawing.reduce((a, b) => Math.max(a, b), 0);
  const ink = { pixels: new Uint8Array(size * size), width: size, height: size };
  for (let i = 0; i < drawing.length; i++) {
    const above = Math.max(0, drawing[i] - (strongest * FAINT) / 255);
    ink.pixels[i] = roundHalfEven((255 * above) / Math.max(1, strongest - (strongest * FAINT) / 255));
  }
  return boxed(ink, side);
}

/** Scales the box around light ink on black to `side`, with its proportions kept, and centres it by mass. */
function boxed(ink, side) {
  const image = new Uint8Array(SIDE * SIDE);
  const box = inkBox(ink);
  if (box === null) return image;
  const scale = side / Math.max(box.width, box.height);
  const width = Math.max(1, roundHalfEven(box.width * scale));
  const height = Math.max(1, roundHalfEven(box.height * scale));
  const scaled = resize(crop(ink, box), width, height);
  // Thin lines fade when scaled down.
  const brightest = scaled.pixels.reduce((a, b) => Math.max(a, b), 0);
  const pixels = scaled.pixels.map((value) => roundHalfEven(value * (255 / brightest)));
  const rows = new Float64Array(height), columns = new Float64Array(width);
  pixels.forEach((value, i) => {
    rows[Math.floor(i / width)] += value;
    columns[i % width] += value;
  });
  const top = offset(rows), left = offset(columns);
  pixels.forEach((value, i) => {
    image[(top + Math.floor(i / width)) * SIDE + left + (i % width)] = value;
  });
  return image;
}

/** Returns 28 x 28 grey values of a drawing as averages over areas; `size` is a multiple of 28. */
function averages(drawing, size) {
  const sums = new Float64Array(SIDE * SIDE);
  const step = size / SIDE;
  drawing.forEach((value, i) => {
    sums[Math.floor(i / size / step) * SIDE + Math.floor((i % size) / step)] += value;
  });
  return Uint8Array.from(sums, (sum) => Math.floor(sum / step ** 2 + 0.5));
}

/** Returns the smallest box around all ink that is not faint; null if there is none. */
function inkBox({ pixels, width, height }) {
  let left = width, right = -1, top = height, bottom = -1;
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      if (pixels[y * width + x] <= FAINT) continue;
      left = Math.min(left, x);
      right = Math.max(right, x);
      top = Math.min(top, y);
      bottom = Math.max(bottom, y);
    }
  }
  return right < 0 ? null : { left, top, width: right - left + 1, height: bottom - top + 1 };
}

function crop(image, { left, top, width, height }) {
  const pixels = new Uint8Array(width * height);
  for (let y = 0; y < height; y++) {
    const start = (top + y) * image.width + left;
    pixels.set(image.pixels.subarray(start, start + width), y * width);
  }
  return { pixels, width, height };
}

/** Returns the first row or column for which the centre of mass is nearest to the middle. */
function offset(mass) {
  const total = mass.reduce((a, b) => a + b, 0);
  const centre = mass.reduce((sum, value, i) => sum + value * (i + 0.5), 0) / total;
  return Math.min(Math.max(roundHalfEven(SIDE / 2 - centre), 0), SIDE - mass.length);
}

/** Resamples bicubically with a kernel as wide as the new pixels: rows first, rounded in between. */
function resize(image, width, height) {
  return resizeColumns(resizeRows(image, width), height);
}

function resizeRows({ pixels, width, height }, newWidth) {
  const result = new Uint8Array(newWidth * height);
  contributions(width, newWidth).forEach(({ first, weights }, x) => {
    for (let y = 0; y < height; y++) {
      let sum = 0;
      for (let i = 0; i < weights.length; i++) sum += weights[i] * pixels[y * width + first + i];
      result[y * newWidth + x] = Math.min(255, Math.max(0, Math.round(sum)));
    }
  });
  return { pixels: result, width: newWidth, height };
}

function resizeColumns({ pixels, width, height }, newHeight) {
  const result = new Uint8Array(width * newHeight);
  contributions(height, newHeight).forEach(({ first, weights }, y) => {
    for (let x = 0; x < width; x++) {
      let sum = 0;
      for (let i = 0; i < weights.length; i++) sum += weights[i] * pixels[(first + i) * width + x];
      result[y * width + x] = Math.min(255, Math.max(0, Math.round(sum)));
    }
  });
  return { pixels: result, width, height: newHeight };
}

/** Returns, for each pixel of a line of `size`, the pixels of a line of `from` it is made of, and their weights. */
function contributions(from, size) {
  const scale = from / size, stretch = Math.max(1, scale);
  return Array.from({ length: size }, (_, position) => {
    const centre = (position + 0.5) * scale;
    const first = Math.max(0, Math.trunc(centre - 2 * stretch + 0.5));
    const last = Math.min(from, Math.trunc(centre + 2 * stretch + 0.5));
    const weights = [];
    for (let i = first; i < last; i++) weights.push(cubic((i - centre + 0.5) / stretch));
    const total = weights.reduce((a, b) => a + b, 0);
    return { first, weights: weights.map((weight) => weight / total) };
  });
}

/** Keys's cubic convolution kernel with a = -0.5. */
function cubic(x) {
  const t = Math.abs(x);
  if (t < 1) return (1.5 * t - 2.5) * t * t + 1;
  if (t < 2) return ((-0.5 * t + 2.5) * t - 4) * t + 2;
  return 0;
}

/** Rounds a half to the even neighbour, as Python does. */
function roundHalfEven(x) {
  const below = Math.floor(x);
  if (x - below !== 0.5) return Math.round(x);
  return below % 2 === 0 ? below : below + 1;
}
