"use strict";

// The network: a list of operations of ONNX, carried out one after the other for a single image.
// Arrays are flat and in row-major order.

class Network {
  /** Takes the page's data: steps, and constants in base64. */
  constructor(data) {
    this.pixels = new Float32Array(28 * 28);
    this.values = new Map([[0, this.pixels]]);
    this.shapes = new Map([[0, [1, 28, 28]]]);
    for (const [number, { shape, values }] of Object.entries(data.constants)) {
      this.values.set(Number(number), new Float32Array(bytesFromBase64(values).buffer));
      this.shapes.set(Number(number), shape);
    }
    this.steps = data.steps.map((step) => this.prepare(step));
    this.output = data.output;
  }

  /** Returns the probability of each class for 28 x 28 grey values, 0 for ground and 255 for ink. */
  run(pixels) {
    this.pixels.set(pixels);
    for (const step of this.steps) step();
    return this.values.get(this.output);
  }

  /** Returns a value for the latest image, by its number. */
  value(number) {
    return this.values.get(number);
  }

  /** Allocates the result of a step; returns the function that computes it. */
  prepare(step) {
    const { shape } = step;
    const inputs = step.inputs.map((number) => this.values.get(number));
    const shapes = step.inputs.map((number) => this.shapes.get(number));
    const result = new Float32Array(sizeOf(shape));
    this.values.set(step.output, result);
    this.shapes.set(step.output, shape);
    return OPERATIONS[step.op](step.attributes, result, shape, inputs, shapes);
  }
}

const OPERATIONS = {
  Conv: convolution,
  MatMul: (attributes, result, shape, [x, y], [, [depth, width]]) => () => {
    for (let row = 0; row * depth < x.length; row++) {
      for (let j = 0; j < width; j++) {
        let sum = 0;
        for (let i = 0; i < depth; i++) sum += x[row * depth + i] * y[i * width + j];
        result[row * width + j] = sum;
      }
    }
  },

  Add: (attributes, result, shape, [x, y], shapes) => {
    const [a, b] = stretched(shapes, shape);
    return () => {
      for (let i = 0; i < result.length; i++) result[i] = x[a[i]] + y[b[i]];
    };
  },
  Sub: (attributes, result, shape, [x, y], shapes) => {
    const [a, b] = stretched(shapes, shape);
    return () => {
      for (let i = 0; i < result.length; i++) result[i] = x[a[i]] - y[b[i]];
    };
  },
  Mul: (attributes, result, shape, [x, y], shapes) => {
    const [a, b] = stretched(shapes, shape);
    return () => {
      for (let i = 0; i < result.length; i++) result[i] = x[a[i]] * y[b[i]];
    };
  },
  Div: (attributes, result, shape, [x, y], shapes) => {
    const [a, b] = stretched(shapes, shape);
    return () => {
      for (let i = 0; i < result.length; i++) result[i] = x[a[i]] / y[b[i]];
    };
  },
  Max: (attributes, result, shape, [x, y], shapes) => {
    const [a, b] = stretched(shapes, shape);
    return () => {
      for (let i = 0; i < result.length; i++) {
        const p = x[a[i]], q = y[b[i]];
        result[i] = p > q ? p : q;
      }
    };
  },
  Min: (attributes, result, shape, [x, y], shapes) => {
    const [a, b] = stretched(shapes, shape);
    return () => {
      for (let i = 0; i < result.length; i++) result[i] = Math.min(x[a[i]], y[b[i]]);
    };
  },

  Abs: (attributes, result, shape, [x]) => () => {
    for (let i = 0; i < result.length; i++) result[i] = Math.abs(x[i]);
  },
  Neg: (attributes, result, shape, [x]) => () => {
    for (let i = 0; i < result.length; i++) result[i] = -x[i];
  },
  Exp: (attributes, result, shape, [x]) => () => {
    for (let i = 0; i < result.length; i++) result[i] = Math.exp(x[i]);
  },
  Log: (attributes, result, shape, [x]) => () => {
    for (let i = 0; i < result.length; i++) result[i] = Math.log(x[i]);
  },
  Tanh: (attributes, result, shape, [x]) => () => {
    for (let i = 0; i < result.length; i++) result[i] = Math.tanh(x[i]);
  },
  Erf: (attributes, result, shape, [x]) => () => {
    for (let i = 0; i < result.length; i++) result[i] = erf(x[i]);
  },
  Sigmoid: (attributes, result, shape, [x]) => () => {
    for (let i = 0; i < result.length; i++) result[i] = 1 / (1 + Math.exp(-x[i]));
  },
  Sqrt: (attributes, result, shape, [x]) => () => {
    for (let i = 0; i < result.length; i++) result[i] = Math.sqrt(x[i]);
  },

  ReduceSum: (attributes, result, shape, [x], [from]) => {
    const target = reduced(from, attributes.axes);
    const sums = new Float64Array(result.length);
    return () => {
      sums.fill(0);
      for (let i = 0; i < x.length; i++) sums[target[i]] += x[i];
      result.set(sums);
    };
  },
  ReduceMax: (attributes, result, shape, [x], [from]) => {
    const target = reduced(from, attributes.axes);
    return () => {
      result.fill(-Infinity);
      for (let i = 0; i < x.length; i++) result[target[i]] = Math.max(result[target[i]], x[i]);
    };
  },

  Pad: (attributes, result, shape, [x, value], [from]) => {
    const strides = stridesOf(shape);
    const first = strides.reduce((sum, stride, axis) => sum + attributes.pads[axis] * stride, 0);
    const target = positions(from, strides, first);
    return () => {
      result.fill(value[0]);
      for (let i = 0; i < x.length; i++) result[target[i]] = x[i];
    };
  },
  Slice: (attributes, result, shape, [x], [from]) => {
    const strides = stridesOf(from);
    const first = strides.reduce((sum, stride, axis) => sum + attributes.starts[axis] * stride, 0);
    const source = positions(shape, strides.map((stride, axis) => stride * attributes.steps[axis]), first);
    return copy(result, x, source);
  },
  Concat: (attributes, result, shape, inputs, shapes) => {
    const strides = stridesOf(shape);
    let start = 0;
    const parts = inputs.map((x, i) => {
      const target = positions(shapes[i], strides, start * strides[attributes.axis]);
      start += shapes[i][attributes.axis];
      return () => {
        for (let j = 0; j < x.length; j++) result[target[j]] = x[j];
      };
    });
    return () => parts.forEach((part) => part());
  },
  Transpose: (attributes, result, shape, [x], [from]) => {
    const strides = stridesOf(from);
    return copy(result, x, positions(shape, attributes.perm.map((axis) => strides[axis]), 0));
  },
  Reshape: (attributes, result, shape, [x]) => () => result.set(x),
  Cast: (attributes, result, shape, [x]) => () => result.set(x),
};

/**
 * Convolution with stride 1. Two neighbouring pixels of four channels are computed together, so that fewer numbers
 * are fetched for each product: a third faster for small networks, twice as fast for large ones.
 */
function convolution({ pads, dilations }, result, [, channels, height, width], [x, kernel], [[, depth, rows, columns], [, , kh, kw]]) {
  const [top, left, bottom, right] = pads;
  const paddedRows = rows + top + bottom, paddedColumns = columns + left + right;
  const isPadded = top + left + bottom + right > 0;
  const padded = isPadded ? new Float32Array(depth * paddedRows * paddedColumns) : x;
  const taps = depth * kh * kw;
  const offsets = new Int32Array(taps); // of each weight's pixel from the first one
  for (let tap = 0; tap < taps; tap++) {
    const j = tap % kw, i = Math.floor(tap / kw) % kh, c = Math.floor(tap / (kh * kw));
    offsets[tap] = (c * paddedRows + i * dilations[0]) * paddedColumns + j * dilations[1];
  }
  const groups = Math.ceil(channels / 4);
  const packed = new Float32Array(groups * taps * 4); // zeros fill up the last group
  for (let o = 0; o < channels; o++) {
    for (let tap = 0; tap < taps; tap++) {
      packed[((o >> 2) * taps + tap) * 4 + (o & 3)] = kernel[o * taps + tap];
    }
  }
  const pad = () => {
    for (let line = 0; line < depth * rows; line++) {
      const c = Math.floor(line / rows), y = line % rows;
      const start = (c * paddedRows + y + top) * paddedColumns + left;
      padded.set(x.subarray(line * columns, (line + 1) * columns), start);
    }
  };
  const area = height * width;
  const next = width > 1 ? 1 : 0; // where the second pixel is; in a map of one column both are the same
  return () => {
    if (isPadded) pad();
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

/** Returns, for each element of an array of that shape, its place in another one whose axes have those strides. */
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

/** Returns the places of a result's elements in each input; sides of length 1 are stretched. */
function stretched(shapes, shape) {
  return shapes.map((from) => {
    const full = [...new Array(shape.length - from.length).fill(1), ...from];
    const strides = stridesOf(full).map((stride, axis) => (full[axis] === 1 ? 0 : stride));
    return positions(shape, strides, 0);
  });
}

/** Returns, for each element, the place in the result that it is reduced to. */
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
