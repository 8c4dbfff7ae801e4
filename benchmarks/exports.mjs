// Run an exported .onnx by onnxruntime-web's WebAssembly, on latents that exports.py wrote: node exports.mjs FOLDER
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { createRequire } from "node:module";

const folder = process.argv[2];
const ort = createRequire(join(process.cwd(), "package.json"))("onnxruntime-web");
ort.env.wasm.numThreads = 1;
const { n, latent_dim, labels, output } = JSON.parse(readFileSync(join(folder, "inputs.json"), "utf8"));
const session = await ort.InferenceSession.create(readFileSync(join(folder, "generator.onnx")), { executionProviders: ["wasm"] });
const latents = new Float32Array(Uint8Array.from(readFileSync(join(folder, "latents.bin"))).buffer);
const feed = (count) => {
  const given = { latents: new ort.Tensor("float32", latents.slice(0, count * latent_dim), [count, latent_dim]) };
  if (labels) given.labels = new ort.Tensor("int64", BigInt64Array.from(labels.slice(0, count), BigInt), [count]);
  return given;
};
const items = (await session.run(feed(n)))[output];
writeFileSync(join(folder, "items.bin"), new Uint8Array(items.data.buffer, items.data.byteOffset, items.data.byteLength));

const milliseconds = {};
for (const count of [1, 64]) {
  const times = [];
  for (let turn = 0; turn < 20; turn++) {
    const start = performance.now();
    await session.run(feed(count));
    times.push(performance.now() - start);
  }
  milliseconds[count] = times.sort((a, b) => a - b)[10];
}
let refused = 0;
if (labels) {
  for (const label of [-1n, 1000000n]) {
    const given = { ...feed(1), labels: new ort.Tensor("int64", BigInt64Array.of(label), [1]) };
    refused += await session.run(given).then(() => 0, () => 1);
  }
}
console.log(JSON.stringify({ dims: items.dims, milliseconds, refused }));
