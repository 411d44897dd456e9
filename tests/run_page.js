// Runs a page's network outside of a browser: node run_page.js PAGE.html IMAGES PROBABILITIES
// IMAGES are bytes, 784 for each; PROBABILITIES will be float32, 10 for each. Prints milliseconds an image.
"use strict";

const fs = require("node:fs");
const vm = require("node:vm");

const [page, images, probabilities] = process.argv.slice(2);
const text = fs.readFileSync(page, "utf8");
const [, json] = text.match(/<script type="application\/json" id="data">(.*?)<\/script>/s);
const [, script] = text.match(/<script>\n(.*?)<\/script>/s);
// What is of the browser comes after the definitions.
vm.runInThisContext(script.split("// The page:")[0]);
const network = vm.runInThisContext("(data) => new Network(data)")(JSON.parse(json));
const pixels = fs.readFileSync(images);
const result = new Float32Array(pixels.length / 784 * 10);
const began = performance.now();
for (let i = 0; i < pixels.length / 784; i++) {
  result.set(network.run(pixels.subarray(784 * i, 784 * (i + 1))), 10 * i);
}
fs.writeFileSync(probabilities, result);
console.log((performance.now() - began) / (pixels.length / 784));
