"use strict";
// Runs exported samplers, one request after the other. `ort` is onnxruntime-web.

// Numbers as NumPy draws them: Philox4x64-10 (Salmon et al. 2011), of which a sample's seed is the first word of the key, its
// stream the second, and the number of the draw the last word of the counter.
const WORD = (1n << 64n) - 1n;

function philox(key, counter) {
  let [a, b, c, d] = counter, [k, l] = key;
  for (let round = 0; round < 10; round++) {
    const left = a * 0xd2e7470ee14c6c93n, right = c * 0xca5a826395121157n;
    [a, b, c, d] = [(right >> 64n) ^ b ^ k, right & WORD, (left >> 64n) ^ d ^ l, left & WORD];
    k = (k + 0x9e3779b97f4a7c15n) & WORD;
    l = (l + 0xbb67ae8584caa73bn) & WORD;
  }
  return [a, b, c, d];
}

class Bits {
  constructor(seed, stream, draw) {
    this.key = [BigInt.asUintN(64, BigInt(seed)), BigInt(stream)];
    this.counter = [0n, 0n, 0n, BigInt(draw)];
    this.words = new Uint32Array(8);
    this.at = 8;
  }
  word() {
    if (this.at === 8) {
      this.counter[0] += 1n;
      philox(this.key, this.counter).forEach((wide, i) => {
        this.words[2 * i] = Number(wide & 0xffffffffn);
        this.words[2 * i + 1] = Number(wide >> 32n);
      });
      this.at = 0;
    }
    return this.words[this.at++];
  }
  uniform() {
    return (this.word() >>> 8) / 16777216;
  }
}

// The ziggurat of Marsaglia and Tsang (2000) with 256 strips, in float32: NumPy's standard normal numbers.
const float = Math.fround, EDGE = 3.6541528853610088, AREA = 0.004928673233974655;
const density = (x) => Math.exp(-0.5 * x * x);
const inside = new Uint32Array(256), width = new Float32Array(256), height = new Float32Array(256);
{
  const scale = 2 ** 23, base = AREA / density(EDGE);
  let right = EDGE;
  [inside[0], width[0], height[0]] = [(EDGE / base) * scale, base / scale, 1];
  for (let i = 255; i > 0; i--) {
    const left = i > 1 ? Math.sqrt(-2 * Math.log(AREA / right + density(right))) : 0;
    [inside[i], width[i], height[i]] = [(left / right) * scale, right / scale, density(right)];
    right = left;
  }
}

function normal(bits) {
  for (;;) {
    const word = bits.word(), strip = word & 255, rest = (word >>> 9) & 0x7fffff;
    const size = float(rest * width[strip]), x = (word >>> 8) & 1 ? -size : size;
    if (rest < inside[strip]) return x;
    if (strip === 0) return tail(bits, (rest >>> 8) & 1);
    const share = float(float(height[strip - 1] - height[strip]) * bits.uniform());
    if (float(share + height[strip]) < density(x)) return x;
  }
}

function tail(bits, negative) {
  for (;;) {
    const beyond = float(float(-1 / EDGE) * float(Math.log1p(-bits.uniform()))), y = -float(Math.log1p(-bits.uniform()));
    if (2 * y > float(beyond * beyond)) return negative ? -(float(EDGE) + beyond) : float(EDGE) + beyond;
  }
}

function noise(seeds, stream, draw, shape) {
  const size = shape.reduce((a, b) => a * b, 1), out = new Float32Array(seeds.length * size);
  seeds.forEach((seed, i) => {
    const bits = new Bits(seed, stream, draw);
    for (let k = 0; k < size; k++) out[i * size + k] = normal(bits);
  });
  return out;
}

// From a to b along the great circle, while the norm changes linearly.
function spherical(a, b, share) {
  const norm = (x) => Math.sqrt(x.reduce((sum, value) => sum + value * value, 0));
  const unit = (x) => { const n = norm(x); return x.map((value) => value / (n || 1)); };
  const [from, to] = [Float64Array.from(a), Float64Array.from(b)], [u, v] = [unit(from), unit(to)];
  const angle = 2 * Math.atan2(norm(u.map((value, k) => value - v[k])), norm(u.map((value, k) => value + v[k])));
  const along = u.reduce((sum, value, k) => sum + value * v[k], 0), across = unit(v.map((value, k) => value - along * u[k]));
  const length = (1 - share) * norm(from) + share * norm(to);
  const [near, far] = [length * Math.cos(share * angle), length * Math.sin(share * angle)];
  return Float32Array.from(u, (value, k) => near * value + far * across[k]);
}

function labels(seeds, { ends, stream }) {
  return seeds.map((seed) => {
    const place = new Bits(seed, stream, 0).uniform();
    return ends.slice(0, -1).filter((end) => float(end) <= place).length;
  });
}

const ARRAYS = {
  float32: (values) => Float32Array.from(values),
  float64: (values) => Float64Array.from(values),
  int64: (values) => BigInt64Array.from(values, BigInt),
};

const models = [];

function start({ wasm }) {
  ort.env.wasm.wasmBinary = wasm;
  ort.env.wasm.numThreads = 1;
  ort.env.logLevel = "error";
  return {};
}

function load({ model, about, bytes }) {
  models[model] = { about, bytes };
  return {};
}

async function session(model) {
  model.session ??= await ort.InferenceSession.create(new Uint8Array(model.bytes), { executionProviders: ["wasm"] });
  delete model.bytes;
  return model.session;
}

// `conditions` holds by name one value for all samples; a label that is not given is drawn for each. With `toward` the noise is
// on the way to that seed's. x is (frames, n, *shape): with `way` the states at which the network was called, then the samples.
async function sample({ model, seeds, conditions, solver, steps, scale, toward, share, way }) {
  const { about } = models[model], running = await session(models[model]);
  const began = performance.now(), n = seeds.length, feeds = {};
  const type = Object.fromEntries(running.inputMetadata.map((input) => [input.name, input.type]));
  const give = (name, values, shape) => {
    if (name in type) feeds[name] = new ort.Tensor(type[name], ARRAYS[type[name]](values), shape);
  };
  const several = (value) => seeds.flatMap(() => value);

  const drawnAt = (stream, call, shape) => {
    const from = noise(seeds, stream, call, shape);
    return toward === null ? from : spherical(from, noise([toward], stream, call, shape), share);
  };
  give("z", drawnAt(about.stream, 0, about.noise), [n, ...about.noise]);

  const drawn = {};
  for (const kind of about.conditions) {
    const given = conditions[kind.name] ?? kind.usual;
    drawn[kind.name] = given === null ? labels(seeds, kind) : several(given);
    give(kind.name, drawn[kind.name], Array.isArray(given) ? [n, given.length] : [n]);
  }

  const draws = about.draws[solver]?.[steps] ?? about.draws, shape = about.noise_of_draws;
  if ("noise" in type) {
    const parts = Array.from({ length: draws }, (_, i) => drawnAt(about.stream, 1 + i, shape));
    const count = Math.max(1, draws), size = n * shape.reduce((a, b) => a * b, 1), all = new Float32Array(count * size);
    parts.forEach((part, i) => all.set(part, i * size));
    give("noise", all, [count, n, ...shape]);
  }
  if (about.decoder_stream) give("decoder_noise", drawnAt(about.decoder_stream, 0, about.shape), [n, ...about.shape]);

  give("scale", several(scale), [n]);
  give("steps", [steps], []);
  give("solver", [Object.keys(about.draws).indexOf(solver)], []);
  give("way", [way ? 1 : 0], []);
  const { x } = await running.run(feeds);
  return { x: x.data, frames: "way" in type ? x.dims[0] : 1, drawn, milliseconds: performance.now() - began };
}

const answers = { start, load, sample };
let last = Promise.resolve();

onmessage = ({ data: { id, question, ...given } }) => {
  last = last.then(async () => {
    try {
      postMessage({ id, ...(await answers[question](given)) });
    } catch (error) {
      postMessage({ id, error: String(error?.message ?? error) });
    }
  });
};
