// Judges recorded reps in the browser: index.html?core.onnx&rep.txt&... fills a table, a row of probabilities per recording.
import * as ort from "./node_modules/onnxruntime-web/dist/ort.wasm.min.mjs";

ort.env.wasm.numThreads = 1; // more need a page that is cross-origin isolated

/** The core's metadata. ONNX Runtime Web does not hand it out; in the file it is a field 14 (key 1, value 2). */
function metadata(bytes) {
  for (const [field, entry] of fields(bytes)) {
    const pair = field === 14 ? new Map(fields(entry)) : new Map();
    const [key, value] = [pair.get(1), pair.get(2)].map((text) => new TextDecoder().decode(text));
    if (key === "metadata.json") return JSON.parse(value);
  }
  throw new Error("the core has no metadata.json");
}

/** Numbers and contents of a protobuf message's fields; those that are plain numbers have no contents. */
function* fields(bytes) {
  let at = 0;
  const varint = () => {
    for (let value = 0, unit = 1; ; unit *= 128) {
      value += (bytes[at] & 127) * unit;
      if (bytes[at++] < 128) return value;
    }
  };
  while (at < bytes.length) {
    const tag = varint();
    const length = varint();
    if (tag % 8 === 2) at += length;
    yield [Math.floor(tag / 8), tag % 8 === 2 ? bytes.subarray(at - length, at) : undefined];
  }
}

/** Input of the core from "fps_hz frames points", then x, y, score of every point of every frame; nan = missing. */
function input(recording) {
  const [fps_hz, frames, points, ...values] = recording.trim().split(/\s+/).map(Number);
  if (values.length !== frames * points * 3) throw new Error("a recording is cut short");
  return {
    keypoints: new ort.Tensor("float32", Float32Array.from(values), [1, frames, points, 3]),
    fps_hz: new ort.Tensor("float32", [fps_hz], [1]),
    frames: new ort.Tensor("int64", [BigInt(frames)], [1]),
    rise_ratio: new ort.Tensor("float32", [NaN], [1]), // unknown
  };
}

function row(cells) {
  document.querySelector("#verdicts").insertRow().append(
    ...cells.map((text) => Object.assign(document.createElement("td"), { textContent: text })),
  );
}

async function fetched(name) {
  const response = await fetch(name);
  if (!response.ok) throw new Error(`${name}: ${response.status}`);
  return response;
}

async function judge([path, ...recordings]) {
  const bytes = new Uint8Array(await (await fetched(path)).arrayBuffer());
  row(metadata(bytes).labels);
  const core = await ort.InferenceSession.create(bytes, { executionProviders: ["wasm"] });
  for (const name of recordings) {
    const out = await core.run(input(await (await fetched(name)).text()));
    row([...out.probabilities.data]);
  }
}

const state = document.querySelector("#state");
judge(location.search.slice(1).split("&")).then(
  () => (state.textContent = "done"),
  (error) => (state.textContent = `error: ${error.message}`),
);
