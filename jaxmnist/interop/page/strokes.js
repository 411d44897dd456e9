"use strict";

// Photographs of a digit: the ink apart from desk, shadows and printed lines, then the digit in the style of MNIST.
// The steps are those of jaxmnist/data/strokes.py and jaxmnist/data/digit.py.

const SEARCH_SIDE = 256; // longer side at which a photograph is searched
const MOST_DRAWING = 64; // longer side of a drawing whose border tells its ink
const SHARES = [0.3, 0.4, 0.5, 0.6, 0.7]; // thresholds to try, as shares of the typical ink

/** Returns 28 x 28 grey values, light ink on black, of a picture of a digit; `side` is that of the box around the ink. */
function toDigit(picture, side) {
  const { width, height } = picture;
  let isDark = Math.max(width, height) <= MOST_DRAWING ? hasDarkInk(picture) : null;
  if (width === SIDE && height === SIDE) {
    const light = isDark ? picture.pixels.map((value) => 255 - value) : picture.pixels;
    if (isLaidOut(light, side)) return light;
  }
  const found = findStrokes(scaledTo(picture, SEARCH_SIDE), isDark);
  if (found === null) return new Uint8Array(SIDE * SIDE);
  let digit = onlyDigit(found);
  const part = closer(picture, digit);
  if (part !== null) {
    const nearer = findStrokes(scaledTo(part, SEARCH_SIDE), found.isDark);
    if (nearer !== null) digit = onlyDigit(nearer);
  }
  return boxed({ ...digit, pixels: Uint8Array.from(digit.values, (value) => roundHalfEven(255 * value)) }, side);
}

function scaledTo(picture, longest) {
  const scale = longest / Math.max(picture.width, picture.height);
  const [width, height] = [picture.width, picture.height].map((side) => Math.max(1, roundHalfEven(side * scale)));
  return resize(picture, width, height);
}

function borderOf(values, width, height) {
  const border = [];
  for (let x = 0; x < width; x++) border.push(values[x], values[(height - 1) * width + x]);
  for (let y = 0; y < height; y++) border.push(values[y * width], values[y * width + width - 1]);
  return border;
}

function extremes(values) {
  let low = Infinity, high = -Infinity;
  for (const value of values) {
    low = Math.min(low, value);
    high = Math.max(high, value);
  }
  return [low, high];
}

const mean = (values) => values.reduce((a, b) => a + b, 0) / values.length;

function hasDarkInk({ pixels, width, height }) {
  const [low, high] = extremes(pixels);
  if (low === high) return low > 127;
  return mean(borderOf(pixels, width, height)) > (low + high) / 2;
}

/** True for light ink of the size and at the place of training images, and for an image without ink. */
function isLaidOut(image, side) {
  const least = extremes(image)[1] / 10;
  const ink = image.map((value) => (value > least ? value : 0));
  const sums = [new Float64Array(SIDE), new Float64Array(SIDE)];
  ink.forEach((value, i) => {
    sums[0][Math.floor(i / SIDE)] += value;
    sums[1][i % SIDE] += value;
  });
  const ranges = sums.map((sum) => [sum.findIndex((value) => value > 0), sum.findLastIndex((value) => value > 0)]);
  if (ranges[0][0] < 0) return true;
  const longest = Math.max(...ranges.map(([first, last]) => last - first)) + 1;
  const [low, high] = { 20: [18, 20], 26: [22, 28] }[side] ?? [side - 2, side];
  const middles = sums.map((sum) => sum.reduce((a, b, i) => a + b * (i + 0.5), 0) / sum.reduce((a, b) => a + b, 0));
  const centres = side === 20 ? middles : ranges.map(([first, last]) => (first + last + 1) / 2);
  return low <= longest && longest <= high && centres.every((centre) => Math.abs(centre - 14) <= 1.25);
}

/** Returns the ink of a picture, its pieces, and if it is dark; null if there is none. */
function findStrokes({ pixels, width, height }, isDark) {
  const even = evened(pixels, width, height);
  const typical = isDark === null ? medianAround(even, width, height) : even;
  const inverted = (values) => values.map((value) => 255 - value);
  const readings = (isDark === null ? [true, false] : [isDark]).map((dark) =>
    dark ? readDark(even, typical, width, height, true) : readDark(inverted(even), inverted(typical), width, height, false),
  );
  return readings.filter((reading) => reading).sort((a, b) => b.score - a.score)[0] ?? null;
}

/** Returns means over 3 x 3 pixels. */
function evened(pixels, width, height) {
  const across = new Float32Array(pixels.length), result = new Float32Array(pixels.length);
  for (let i = 0; i < pixels.length; i++) {
    const x = i % width;
    across[i] = (pixels[i] + pixels[x > 0 ? i - 1 : i] + pixels[x < width - 1 ? i + 1 : i]) / 3;
  }
  for (let i = 0; i < pixels.length; i++) {
    result[i] = (across[i] + across[i >= width ? i - width : i] + across[i < pixels.length - width ? i + width : i]) / 3;
  }
  return result;
}

/** Returns the median within two fifths of the longer side around each pixel, of coarser pixels. */
function medianAround(values, width, height) {
  const step = Math.max(1, Math.ceil(Math.max(width, height) / 43));
  const half = Math.floor(step / 2);
  const columns = Math.ceil((width - half) / step), rows = Math.ceil((height - half) / step);
  const small = new Float32Array(columns * rows);
  for (let y = 0; y < rows; y++) {
    for (let x = 0; x < columns; x++) {
      let sum = 0;
      for (let i = 0; i < step * step; i++) {
        const down = y * step + half - half + Math.floor(i / step), right = x * step + (i % step);
        sum += values[Math.min(down, height - 1) * width + Math.min(right, width - 1)];
      }
      small[y * columns + x] = sum / step ** 2;
    }
  }
  const reach = Math.floor((2 * Math.max(rows, columns)) / 10);
  const median = new Float32Array(small.length), window = new Float32Array((2 * reach + 1) ** 2);
  for (let i = 0; i < small.length; i++) {
    let n = 0;
    for (let y = -reach; y <= reach; y++) {
      const row = Math.min(rows - 1, Math.max(0, Math.floor(i / columns) + y)) * columns;
      for (let x = -reach; x <= reach; x++) window[n++] = small[row + Math.min(columns - 1, Math.max(0, (i % columns) + x))];
    }
    median[i] = window.sort()[(n - 1) / 2];
  }
  return values.map((_, i) => {
    const y = Math.min(rows - 1, Math.floor(Math.floor(i / width) / step));
    return median[y * columns + Math.min(columns - 1, Math.floor((i % width) / step))];
  });
}

function readDark(dark, typical, width, height, isDark) {
  const size = 0.25 * Math.max(width, height);
  let ground, found, run;
  for (run of [0.6, null]) {
    ground = groundOf(dark, width, height, size, run);
    found = thresholded(dark, ground, width, height);
    if (found === null) return null;
    if (run === null || !touchesEdge(found, ground)) break;
  }
  const window = 1.5 * found.pieces[found.main].thickness + 3;
  if (window < 0.7 * size) {
    ground = groundOf(dark, width, height, window, run);
    found = thresholded(dark, ground, width, height) ?? found;
  }
  let contrast = 0, novelty = 0;
  found.values.forEach((ink, i) => {
    if (ink <= 0.5) return;
    contrast += ground[i] - dark[i];
    novelty += Math.max(0, typical[i] - dark[i]);
  });
  const border = borderOf(dark, width, height), middle = percentile(border, 50), [low, high] = extremes(dark);
  const near = border.filter((value) => Math.abs(value - middle) < 0.15 * (high - low)).length / border.length;
  const weight = near > 0.9 && mean(border) > (low + high) / 2 ? 2 : 1;
  const score = (weight * found.pieces[found.main].elongation * novelty) / Math.max(contrast, 1e-6);
  return { ...found, isDark, score };
}

/** Returns the closing of a picture whose surroundings continue its border, without the ink that reaches it. */
function groundOf(dark, width, height, window, run) {
  const size = roundHalfEven(window) | 1, pad = size + 1;
  const wide = width + 2, high = height + 2;
  const padded = new Float32Array(wide * high);
  for (let i = 0; i < padded.length; i++) {
    const x = Math.min(width - 1, Math.max(0, (i % wide) - 1)), y = Math.min(height - 1, Math.max(0, Math.floor(i / wide) - 1));
    padded[i] = dark[y * width + x];
  }
  const ring = [];
  for (let x = 0; x < wide - 1; x++) ring.push(x);
  for (let y = 0; y < high - 1; y++) ring.push(y * wide + wide - 1);
  for (let x = wide - 1; x > 0; x--) ring.push((high - 1) * wide + x);
  for (let y = high - 1; y > 0; y--) ring.push(y * wide);
  const border = Float32Array.from(ring, (place) => padded[place]);
  if (run === null) {
    const light = percentile(border, 90);
    for (const place of ring) padded[place] = light;
  } else {
    const length = roundHalfEven(run * Math.min(width, height)) | 1, n = border.length, reach = Math.floor(length / 2);
    const cyclic = (line, choose) =>
      line.map((_, i) => {
        let best = line[i];
        for (let j = -reach; j <= reach; j++) best = choose(best, line[(((i + j) % n) + n) % n]);
        return best;
      });
    const closed = cyclic(cyclic(border, Math.max), Math.min);
    ring.forEach((place, i) => (padded[place] = closed[i]));
  }
  const fullWidth = wide + 2 * size, fullHeight = high + 2 * size;
  let full = new Float32Array(fullWidth * fullHeight);
  for (let i = 0; i < full.length; i++) {
    const x = Math.min(wide - 1, Math.max(0, (i % fullWidth) - size));
    const y = Math.min(high - 1, Math.max(0, Math.floor(i / fullWidth) - size));
    full[i] = padded[y * wide + x];
  }
  const reach = (size - 1) / 2;
  for (const isLargest of [true, false]) full = filtered(full, fullWidth, fullHeight, reach, isLargest);
  return Float32Array.from(dark, (_, i) => full[(Math.floor(i / width) + pad) * fullWidth + (i % width) + pad]);
}

/** Returns the largest or smallest value within a square around each pixel; far from the border only. */
function filtered(values, width, height, reach, isLargest) {
  const rows = alongLines(values, 1, 2 * reach + 1, isLargest);
  const shift = reach * (width + 1);
  const both = alongLines(rows, width, 2 * reach + 1, isLargest);
  return values.map((_, i) => both[Math.max(0, i - shift)]);
}

/** Returns the extremes of each value and those after it, `step` apart; windows double until they are long enough. */
function alongLines(values, step, length, isLargest) {
  const combined = (from, distance) => {
    const result = Float32Array.from(from);
    for (let i = 0; i + distance < from.length; i++) {
      const other = from[i + distance];
      if (isLargest ? other > result[i] : other < result[i]) result[i] = other;
    }
    return result;
  };
  let current = values, span = 1;
  for (; 2 * span <= length; span *= 2) current = combined(current, span * step);
  return combined(current, (length - span) * step);
}

/** Returns the ink that differs clearly from noise, from 0 to 1, and its pieces; null if there is none. */
function thresholded(dark, ground, width, height) {
  const floor = Math.max(12, 0.35 * percentile(ground, 90));
  let share = dark.map((value, i) => (ground[i] - value) / Math.max(ground[i], floor));
  const [low, middle] = [percentile(share, 5), percentile(share, 35)];
  const noise = (middle - low) / 1.26;
  share = share.map((value) => value - (middle + 0.385 * noise));
  if (extremes(share)[1] < Math.max(0.03, 5 * noise)) return null;
  const limit = otsu(share.filter((value) => value > Math.max(0.02, 3 * noise)));
  const typical = percentile(share.filter((value) => value > limit), 50);
  const levels = SHARES.map((level) => Math.max(level * typical, 3 * noise));
  const spans = ({ top, bottom, left, right }) => (top <= 1 && bottom >= height - 1) || (left <= 1 && right >= width - 1);
  let level = levels.find((each) => {
    const { pieces, main } = piecesOf(share, width, height, each);
    return !spans(pieces[main]);
  }) ?? levels[0];
  const { labels, pieces, main } = piecesOf(share, width, height, level);
  const kept = pieces.map((piece) => piece.level >= 0.5 * pieces[main].level && piece.mass >= 0.01 * pieces[main].mass);
  const near = labelsNear(labels, width, height);
  share = share.map((value, i) => (near[i] && kept[near[i] - 1] ? value : 0));
  const full = pieces[main].level, faint = level === levels[0] ? 0.2 * full : 0.85 * level;
  const values = share.map((value) => Math.min(1, Math.max(0, (value - faint) / Math.max(full - faint, 1e-3))));
  return { values, width, height, ...piecesOf(share, width, height, level) };
}

/** Returns the highest label within two pixels. */
function labelsNear(labels, width, height) {
  return labels.map((_, i) => {
    const x = i % width, y = Math.floor(i / width);
    let best = 0;
    for (let down = Math.max(0, y - 2); down <= Math.min(height - 1, y + 2); down++) {
      for (let right = Math.max(0, x - 2); right <= Math.min(width - 1, x + 2); right++) {
        best = Math.max(best, labels[down * width + right]);
      }
    }
    return best;
  });
}

/** Labels the connected pieces above a level, measures them, and finds the likeliest piece of writing. */
function piecesOf(share, width, height, level) {
  const labels = new Int32Array(share.length), depth = depths(share, width, height, level), pieces = [];
  for (let start = 0; start < share.length; start++) {
    if (labels[start] || share[start] <= level) continue;
    const piece = { top: height, bottom: 0, left: width, right: 0, area: 0, mass: 0, square: 0, depth: 0 };
    const stack = [start];
    labels[start] = pieces.push(piece);
    while (stack.length) {
      const i = stack.pop(), x = i % width, y = Math.floor(i / width);
      piece.area += 1;
      piece.mass += share[i];
      piece.square += share[i] ** 2;
      piece.depth = Math.max(piece.depth, depth[i]);
      piece.top = Math.min(piece.top, y);
      piece.bottom = Math.max(piece.bottom, y + 1);
      piece.left = Math.min(piece.left, x);
      piece.right = Math.max(piece.right, x + 1);
      for (let down = Math.max(0, y - 1); down <= Math.min(height - 1, y + 1); down++) {
        for (let right = Math.max(0, x - 1); right <= Math.min(width - 1, x + 1); right++) {
          const j = down * width + right;
          if (labels[j] || share[j] <= level) continue;
          labels[j] = pieces.length;
          stack.push(j);
        }
      }
    }
  }
  let main = 0, best = -1;
  pieces.forEach((piece, number) => {
    piece.level = piece.square / piece.mass;
    piece.thickness = 2 * piece.depth - 1;
    piece.elongation = piece.area / piece.thickness ** 2;
    const merit = piece.mass * piece.level * Math.min(6, Math.max(0.5, piece.elongation));
    if (merit > best) [main, best] = [number, merit];
  });
  return { labels, pieces, main };
}

/** Returns the chessboard distance of each pixel to the ground, which also surrounds the picture. */
function depths(share, width, height, level) {
  const depth = new Int32Array((width + 2) * (height + 2)), wide = width + 2;
  const places = Array.from({ length: share.length }, (_, i) => (Math.floor(i / width) + 1) * wide + (i % width) + 1);
  const nearest = (place, offsets) => Math.min(...offsets.map((offset) => depth[place + offset])) + 1;
  for (let i = 0; i < share.length; i++) {
    if (share[i] > level) depth[places[i]] = nearest(places[i], [-1, -wide - 1, -wide, -wide + 1]);
  }
  for (let i = share.length - 1; i >= 0; i--) {
    const place = places[i];
    if (share[i] > level) depth[place] = Math.min(depth[place], nearest(place, [1, wide - 1, wide, wide + 1]));
  }
  return places.map((place) => depth[place]);
}

/** True if the main piece meets ground as dark as a desk. */
function touchesEdge({ labels, main, width, height }, ground) {
  const limit = 0.6 * percentile(ground, 90);
  const own = labelsNear(labels.map((label) => (label === main + 1 ? 1 : 0)), width, height);
  let around = 0, edge = 0;
  own.forEach((is, i) => {
    around += is;
    edge += is && ground[i] < limit ? 1 : 0;
  });
  return edge > 0.02 * around;
}

/** Returns the ink of the main piece, of broken strokes near it, and of pieces that may be digits beside it. */
function onlyDigit({ values, labels, pieces, main, width, height }) {
  const { top, bottom, left, right, mass } = pieces[main];
  const length = Math.max(bottom - top, right - left);
  const kept = pieces.map((piece) => {
    const gap = Math.max(piece.top - bottom, top - piece.bottom, piece.left - right, left - piece.right);
    return gap < 0.2 * length || piece.mass >= 0.2 * mass;
  });
  const near = labelsNear(labels.map((label) => (label && kept[label - 1] ? 1 : 0)), width, height);
  return { values: values.map((value, i) => value * near[i]), width, height };
}

/** Cuts a small digit out with a margin; null if it is large already, or the picture has no more pixels of it. */
function closer(picture, { values, width, height }) {
  const box = inkBox({ pixels: values.map((value) => 255 * value), width, height });
  if (box === null) return null;
  const longest = Math.max(box.width, box.height), scale = Math.max(picture.width, picture.height) / Math.max(width, height);
  if (longest > 0.35 * SEARCH_SIDE || scale < 1.5) return null;
  const margin = roundHalfEven(0.5 * longest * scale);
  const range = (first, count, most) => [
    Math.max(0, roundHalfEven(first * scale) - margin),
    Math.min(most, roundHalfEven((first + count) * scale) + margin),
  ];
  const [left, right] = range(box.left, box.width, picture.width), [top, bottom] = range(box.top, box.height, picture.height);
  return crop(picture, { left, top, width: right - left, height: bottom - top });
}

function percentile(values, share) {
  const sorted = Float32Array.from(values).sort();
  const place = (share / 100) * (sorted.length - 1), below = Math.floor(place);
  const above = Math.min(sorted.length - 1, below + 1);
  return sorted[below] + (place - below) * (sorted[above] - sorted[below]);
}

/** Returns the threshold that separates two classes best (Otsu, 1979). */
function otsu(values) {
  const [low, high] = extremes(values), bins = 128, counts = new Float64Array(bins);
  const step = (high - low) / bins || 1 / bins;
  for (const value of values) counts[Math.min(bins - 1, Math.floor((value - low) / step))] += 1;
  let total = 0, all = 0;
  counts.forEach((count, i) => {
    total += count;
    all += count * (low + (i + 0.5) * step);
  });
  let below = 0, sum = 0, best = -1, limit = low;
  for (let i = 0; i < bins - 1; i++) {
    below += counts[i];
    sum += counts[i] * (low + (i + 0.5) * step);
    const above = total - below;
    if (!below || !above) continue;
    const between = below * above * (sum / below - (all - sum) / above) ** 2;
    if (between > best) [best, limit] = [between, low + (i + 1) * step];
  }
  return limit;
}
