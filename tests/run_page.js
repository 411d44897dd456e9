// Runs parts of a page outside of a browser, with files of raw values:
//   node run_page.js predict PAGE IMAGES PROBABILITIES    bytes, 784 for each image; float32, 10 for each
//   node run_page.js style PAGE DRAWINGS IMAGES           bytes, 140 x 140 for each drawing; 784 for each
//   node run_page.js averages PAGE DRAWINGS IMAGES        the same
//   node run_page.js photographs PAGE JSON IMAGES         grey values in base64, width and height of each; 784 for each
//   node run_page.js erf - NUMBERS                        JSON to JSON
"use strict";

const fs = require("node:fs");
const path = require("node:path");
const vm = require("node:vm");

function read(page) {
  const text = fs.readFileSync(page, "utf8");
  const [, json] = text.match(/<script type="application\/json" id="data">(.*?)<\/script>/s);
  const [, script] = text.match(/<script>\n(.*?)<\/script>/s);
  // The parts that need a browser come after these definitions.
  vm.runInThisContext(script.split("// The feature maps")[0]);
  return JSON.parse(json);
}

const [what, page, from, to] = process.argv.slice(2);
if (what === "predict") {
  const data = read(page);
  const network = vm.runInThisContext("(data) => new Network(data)")(data);
  const pixels = fs.readFileSync(from);
  const result = new Float32Array((pixels.length / 784) * 10);
  for (let i = 0; i < pixels.length / 784; i++) {
    result.set(network.run(pixels.subarray(784 * i, 784 * (i + 1))), 10 * i);
  }
  fs.writeFileSync(to, result);
} else if (what === "style" || what === "averages") {
  const { side } = read(page).about;
  const prepare = vm.runInThisContext(what === "style" ? "toMnistStyle" : "averages");
  const drawings = new Uint8Array(fs.readFileSync(from));
  const size = 140 * 140;
  const images = [];
  for (let i = 0; i < drawings.length; i += size) images.push(prepare(drawings.subarray(i, i + size), 140, side));
  fs.writeFileSync(to, Buffer.concat(images));
} else if (what === "photographs") {
  const { side } = read(page).about;
  const pictures = JSON.parse(fs.readFileSync(from, "utf8"));
  const prepare = vm.runInThisContext("toDigit");
  const images = pictures.map(({ pixels, width, height }) =>
    prepare({ pixels: new Uint8Array(Buffer.from(pixels, "base64")), width, height }, side),
  );
  fs.writeFileSync(to, Buffer.concat(images));
} else {
  const file = path.join(__dirname, "../jaxmnist/interop/page/network.js");
  vm.runInThisContext(fs.readFileSync(file, "utf8"));
  console.log(JSON.stringify(JSON.parse(from).map(vm.runInThisContext("erf"))));
}
