"use strict";

// The network: a list of array operations, carried out one after the other for a single image.
// Arrays are flat and in row-major order; a feature map is [channels, height, width, 1].

class Network {
  /** Takes the description that the page holds: steps, constants and their values in base64. */
  constructor(data) {
    const weights = new Float32Array(bytesFromBase64(data.weights).buffer);
    this.pixels = new Float32Array(28 * 28);
    this.values = new Map([[0, this.pixels]]);
    this.shapes = new Map([[0, [1, 28, 28]]]);
    for (const { value, shape, start } of data.constants) {
      this.values.set(value, weights.subarray(start, start + sizeOf(shape)));
      this.shapes.set(value, shape);
    }
    this.steps = data.steps.map((step) => this.prepare(step));
    this.output = data.output;
  }

  /** Probabilities of the ten classes for 28 x 28 grey values, 0 ground and 255 ink. */
  run(pixels) {
    this.pixels.set(pixels);
    for (const step of this.steps) step();
    return this.values.get(this.output);
  }

  /** What a layer gave for the latest image. */
  value(number) {
    return this.values.get(number);
  }

  /** Makes room for the result of a step; the function returned fills it. */
  prepare(step) {
    const shape = step.shape.map((side) => (side === -1 ? 1 : side)); // -1 is the number of images
    const inputs = step.inputs.map((number) => this.values.get(number));
    const shapes = step.inputs.map((number) => this.shapes.get(number));
    const result = new Float32Array(sizeOf(shape));
    this.values.set(step.output, result);
    this.shapes.set(step.output, shape);
    return OPERATIONS[step.op](step, result, shape, inputs, shapes);
  }
}

const OPERATIONS = {
  conv: convolution,
  dot: (step, result, shape, [x, y], [, [depth, width]]) => () => {
    for (let row = 0; row * depth < x.length; row++) {
      for (let j = 0; j < width; j++) {
        let sum = 0;
        for (let i = 0; i < depth; i++) sum += x[row * depth + i] * y[i * width + j];
        result[row * width + j] = sum;
      }
    }
  },

  add: (step, result, shape, [x, y], shapes) => {
    const [a, b] = stretched(shapes, shape);
    return () => {
      for (let i = 0; i < result.length; i++) result[i] = x[a[i]] + y[b[i]];
    };
  },
  sub: (step, result, shape, [x, y], shapes) => {
    const [a, b] = stretched(shapes, shape);
    return () => {
      for (let i = 0; i < result.length; i++) result[i] = x[a[i]] - y[b[i]];
    };
  },
  mul: (step, result, shape, [x, y], shapes) => {
    const [a, b] = stretched(shapes, shape);
    return () => {
      for (let i = 0; i < result.length; i++) result[i] = x[a[i]] * y[b[i]];
    };
  },
  div: (step, result, shape, [x, y], shapes) => {
    const [a, b] = stretched(shapes, shape);
    return () => {
      for (let i = 0; i < result.length; i++) result[i] = x[a[i]] / y[b[i]];
    };
  },
  max: (step, result, shape, [x, y], shapes) => {
    const [a, b] = stretched(shapes, shape);
    return () => {
      for (let i = 0; i < result.length; i++) {
        const p = x[a[i]], q = y[b[i]];
        result[i] = p > q ? p : q;
      }
    };
  },
  min: (step, result, shape, [x, y], shapes) => {
    const [a, b] = stretched(shapes, shape);
    return () => {
      for (let i = 0; i < result.length; i++) result[i] = Math.min(x[a[i]], y[b[i]]);
    };
  },

  abs: (step, result, shape, [x]) => () => {
    for (let i = 0; i < result.length; i++) result[i] = Math.abs(x[i]);
  },
  exp: (step, result, shape, [x]) => () => {
    for (let i = 0; i < result.length; i++) result[i] = Math.exp(x[i]);
  },
  log: (step, result, shape, [x]) => () => {
    for (let i = 0; i < result.length; i++) result[i] = Math.log(x[i]);
  },
  erf: (step, result, shape, [x]) => () => {
    for (let i = 0; i < result.length; i++) result[i] = erf(x[i]);
  },
  logistic: (step, result, shape, [x]) => () => {
    for (let i = 0; i < result.length; i++) result[i] = 1 / (1 + Math.exp(-x[i]));
  },
  rsqrt: (step, result, shape, [x]) => () => {
    for (let i = 0; i < result.length; i++) result[i] = 1 / Math.sqrt(x[i]);
  },

  reduce_sum: (step, result, shape, [x], [from]) => {
    const target = reduced(from, step.axes);
    const sums = new Float64Array(result.length);
    return () => {
      sums.fill(0);
      for (let i = 0; i < x.length; i++) sums[target[i]] += x[i];
      result.set(sums);
    };
  },
  reduce_max: (step, result, shape, [x], [from]) => {
    const target = reduced(from, step.axes);
    return () => {
      result.fill(-Infinity);
      for (let i = 0; i < x.length; i++) result[target[i]] = Math.max(result[target[i]], x[i]);
    };
  },

  pad: (step, result, shape, [x, value], [from]) => {
    const strides = stridesOf(shape);
    const first = strides.reduce((sum, stride, axis) => sum + step.before[axis] * stride, 0);
    const target = positions(from, strides, first);
    return () => {
      result.fill(value[0]);
      for (let i = 0; i < x.length; i++) result[target[i]] = x[i];
    };
  },
  slice: (step, result, shape, [x], [from]) => {
    const strides = stridesOf(from);
    const first = strides.reduce((sum, stride, axis) => sum + step.starts[axis] * stride, 0);
    const source = positions(shape, strides.map((stride, axis) => stride * step.strides[axis]), first);
    return copy(result, x, source);
  },
  concatenate: (step, result, shape, inputs, shapes) => {
    const strides = stridesOf(shape);
    let start = 0;
    const parts = inputs.map((x, i) => {
      const target = positions(shapes[i], strides, start * strides[step.axis]);
      start += shapes[i][step.axis];
      return () => {
        for (let j = 0; j < x.length; j++) result[target[j]] = x[j];
      };
    });
    return () => parts.forEach((part) => part());
  },
  transpose: (step, result, shape, [x], [from]) => {
    const strides = stridesOf(from);
    return copy(result, x, positions(shape, step.permutation.map((axis) => strides[axis]), 0));
  },
  reshape: (step, result, shape, [x]) => () => result.set(x),
  float: (step, result, shape, [x]) => () => result.set(x),
};

/**
 * Convolution with stride 1. Two neighbouring pixels of four channels are computed together, so that fewer numbers
 * are fetched for each product: a third faster for small networks, twice as fast for large ones.
 */
function convolution(step, result, [channels, height, width], [x, kernel], [[depth, rows, columns], [kh, kw]]) {
  const { padding, dilation } = step;
  const paddedRows = rows + 2 * padding, paddedColumns = columns + 2 * padding;
  const padded = padding ? new Float32Array(depth * paddedRows * paddedColumns) : x;
  const taps = kh * kw * depth;
  const offsets = new Int32Array(taps); // of each weight's pixel from the first one
  for (let tap = 0; tap < taps; tap++) {
    const c = tap % depth, j = Math.floor(tap / depth) % kw, i = Math.floor(tap / (depth * kw));
    offsets[tap] = (c * paddedRows + i * dilation) * paddedColumns + j * dilation;
  }
  const groups = Math.ceil(channels / 4);
  const packed = new Float32Array(groups * taps * 4); // zeros fill up the last group
  for (let o = 0; o < channels; o++) {
    for (let tap = 0; tap < taps; tap++) {
      packed[((o >> 2) * taps + tap) * 4 + (o & 3)] = kernel[tap * channels + o];
    }
  }
  const pad = () => {
    for (let line = 0; line < depth * rows; line++) {
      const c = Math.floor(line / rows), y = line % rows;
      const start = (c * paddedRows + y + padding) * paddedColumns + padding;
      padded.set(x.subarray(line * columns, (line + 1) * columns), start);
    }
  };
  const area = height * width;
  const next = width > 1 ? 1 : 0; // where the second pixel is; in a map of one column both are the same
  return () => {
    if (padding) pad();
    for (let group = 0; group < groups; group++) {
      const first = 4 * group, present = channels - first;
      for (let y = 0; y < height; y++) {
        for (let column = 0; column < width; column += 2) {
          const left = Math.min(column, width - 1 - next); // the last pair may overlap the one before
          const corner = y * paddedColumns + left;
          let a = 0, b = 0, c = 0, d = 0, a2 = 0, b2 = 0, c2 = 0, d2 = 0;
          for (let tap = 0, w = group * taps * 4; tap < taps; tap++, w += 4) {
            const place = corner + offsets[tap];
            const pixel = padded[place], pixel2 = padded[place + next];
            const wa = packed[w], wb = packed[w + 1], wc = packed[w + 2], wd = packed[w + 3];
            a += pixel * wa;
            b += pixel * wb;
            c += pixel * wc;
            d += pixel * wd;
            a2 += pixel2 * wa;
            b2 += pixel2 * wb;
            c2 += pixel2 * wc;
            d2 += pixel2 * wd;
          }
          const target = first * area + y * width + left;
          result[target] = a;
          result[target + next] = a2;
          if (present > 1) {
            result[target + area] = b;
            result[target + area + next] = b2;
          }
          if (present > 2) {
            result[target + 2 * area] = c;
            result[target + 2 * area + next] = c2;
          }
          if (present > 3) {
            result[target + 3 * area] = d;
            result[target + 3 * area + next] = d2;
          }
        }
      }
    }
  };
}

/** The error function, from a series without cancellation (Abramowitz and Stegun, 7.1.6). */
function erf(x) {
  if (Math.abs(x) > 4) return Math.sign(x); // within 2e-8
  const square = x * x;
  let term = x, sum = x;
  for (let n = 1; Math.abs(term) > 1e-10 * Math.abs(sum); n++) {
    term *= (2 * square) / (2 * n + 1);
    sum += term;
  }
  return (2 / Math.sqrt(Math.PI)) * Math.exp(-square) * sum;
}

function sizeOf(shape) {
  return shape.reduce((product, side) => product * side, 1);
}

function stridesOf(shape) {
  const strides = new Array(shape.length);
  for (let axis = shape.length - 1, stride = 1; axis >= 0; stride *= shape[axis--]) strides[axis] = stride;
  return strides;
}

/** For each element of an array of that shape its place in another one, where the axes have those strides. */
function positions(shape, strides, first) {
  const places = new Int32Array(sizeOf(shape));
  const index = new Array(shape.length).fill(0);
  for (let i = 0, place = first; i < places.length; i++) {
    places[i] = place;
    for (let axis = shape.length - 1; axis >= 0; axis--) {
      place += strides[axis];
      if (++index[axis] < shape[axis]) break;
      place -= strides[axis] * shape[axis];
      index[axis] = 0;
    }
  }
  return places;
}

/** Where the elements of a result are in each input; sides of length 1 are stretched. */
function stretched(shapes, shape) {
  return shapes.map((from) => {
    const full = [...new Array(shape.length - from.length).fill(1), ...from];
    const strides = stridesOf(full).map((stride, axis) => (full[axis] === 1 ? 0 : stride));
    return positions(shape, strides, 0);
  });
}

/** Which element of the result each element is reduced to. */
function reduced(shape, axes) {
  const kept = stridesOf(shape.map((side, axis) => (axes.includes(axis) ? 1 : side)));
  return positions(shape, kept.map((stride, axis) => (axes.includes(axis) ? 0 : stride)), 0);
}

function copy(result, x, source) {
  return () => {
    for (let i = 0; i < result.length; i++) result[i] = x[source[i]];
  };
}

function bytesFromBase64(text) {
  return Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
}
