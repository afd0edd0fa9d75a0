// The page: controls, the worker that computes, and pictures of what it sends.

const SECONDS = 4; // that the way from noise to data plays
const QUICK = 250; // milliseconds that one request to the worker takes at most, about
const SPAN = 2.8; // standard deviations on either side of the mean that axes hold
const byId = (id) => document.getElementById(id);
const abouts = JSON.parse(byId("descriptions").textContent);
const status = document.querySelector("[role=status]");

// Says what goes on; what pictures' captions say as well is for screen readers alone.
function say(text, heard = false) {
  status.textContent = text;
  status.classList.toggle("unseen", heard);
}

// The worker ---------------------------------------------------------------------------------------------------

function taken(id) {
  const text = atob(byId(id).textContent), bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  byId(id).remove();
  return bytes;
}

async function unpacked(id) {
  const stream = new Blob([taken(id)]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).arrayBuffer();
}

let worker, questions = 0;
const waiting = new Map();

async function start() {
  const [code, wasm] = await Promise.all(["worker", "wasm"].map(unpacked));
  worker = new Worker(URL.createObjectURL(new Blob([code], { type: "text/javascript" })));
  worker.onerror = (event) => say(`The worker failed: ${event.message}`);
  worker.onmessage = ({ data }) => {
    const [done, failed] = waiting.get(data.id);
    waiting.delete(data.id);
    if (data.error) failed(new Error(data.error));
    else done(data);
  };
  await answer("start", { wasm }, [wasm]);
}

// Unpacks a model when its samples are first asked for, so that the others' samples do not wait for it.
async function load({ model, about, root }) {
  if (!byId(`model-${model}`)) return;
  root.querySelector("figcaption").textContent = "loading …";
  const bytes = await unpacked(`model-${model}`);
  await answer("load", { model, about, bytes }, [bytes]);
}

function answer(question, given, moved = []) {
  const id = questions++;
  worker.postMessage({ id, question, ...given }, moved);
  return new Promise((done, failed) => waiting.set(id, [done, failed]));
}

// What the controls ask for ------------------------------------------------------------------------------------

const view = () => document.querySelector("[name=view]:checked").value;
const whole = (id) => Math.round(byId(id).valueAsNumber) || 0;
const reached = () => (byId("reached")?.valueAsNumber ?? 100) / 100;

function given(kind) {
  if (kind.kind === "label") return byId(`given-${kind.control}`).value;
  return kind.columns.map((_, k) => {
    const number = byId(`given-${kind.control}-${k}`).valueAsNumber;
    return Number.isFinite(number) ? number : kind.usual[k];
  });
}

// The settings of one model, and the seeds of its samples.
function asked(model) {
  const about = abouts[model], walk = view() === "walk", first = whole("seed");
  const values = about.conditions.filter((kind) => "control" in kind).map((kind) => [kind.name, given(kind)]);
  return {
    model,
    seeds: Array.from({ length: view() === "grid" ? about.shown : 1 }, (_, i) => first + i),
    conditions: Object.fromEntries(values.filter(([, value]) => value !== "")),
    solver: solver(model),
    steps: steps(model),
    scale: byId(`scale-${model}`)?.valueAsNumber ?? 1,
    toward: walk ? whole("toward") : null,
    share: walk ? byId("share").valueAsNumber / 100 : 0,
  };
}

const moves = (model) => typeof abouts[model].draws === "object";
const solver = (model) => (moves(model) ? byId(`solver-${model}`)?.value ?? Object.keys(abouts[model].draws)[0] : "");
const counts = (model) => Object.keys(abouts[model].draws[solver(model)]).map(Number);
const steps = (model) => (moves(model) ? counts(model)[byId(`steps-${model}`).value] : 1);

// Solvers may know different numbers of steps: the slider stays at the one nearest to what it showed.
function fitSteps(model, wanted) {
  const slider = byId(`steps-${model}`), known = counts(model);
  const away = known.map((count) => Math.abs(count - wanted));
  slider.max = known.length - 1;
  slider.value = away.indexOf(Math.min(...away));
  slider.dataset.steps = steps(model);
}

function describe() {
  const said = { share: (value) => `${value} %`, reached: (value) => `${value} % of the way from noise to data` };
  for (const slider of document.querySelectorAll("input[type=range]")) {
    const [name, model] = slider.id.split("-"), output = slider.parentElement.querySelector("output");
    const text = name === "steps" ? String(steps(model)) : said[name]?.(slider.value) ?? slider.value;
    slider.setAttribute("aria-valuetext", text);
    if (output) output.textContent = text;
  }
  for (const part of document.querySelectorAll("[data-view]")) part.hidden = part.dataset.view !== view();
}

// Samples ------------------------------------------------------------------------------------------------------

const panels = abouts.map((about, model) => ({
  about,
  model,
  root: byId(`panel-${model}`),
  key: "", // the settings that the samples are of
  samples: [], // {frames, label}: the states on the way, if they were asked for, and the sample
  milliseconds: 0,
  each: 0, // milliseconds of a sample in the latest part: a model's first ones take longer
  error: "",
}));

let turn = 0, running = null;

// Computes what the controls ask for, until they ask for nothing else.
function refresh() {
  turn++;
  describe();
  running ??= (async () => {
    for (let done = -1; done !== turn;) {
      done = turn;
      await compute(() => done !== turn);
    }
  })().catch((error) => say(error.message)).finally(() => { running = null; });
  return running;
}

const keyOf = (settings) => JSON.stringify(settings);

async function compute(changed) {
  const tasks = [];
  for (const panel of panels) {
    const settings = { ...asked(panel.model), way: reached() < 1 && moves(panel.model) }, key = keyOf(settings);
    if (panel.key === key || panel.key === keyOf({ ...settings, way: true })) paint(panel);
    else tasks.push([panel, parts(panel, settings, key, changed)]);
  }
  if (tasks.length) say("Computing …");
  for (let left = tasks; left.length && !changed();) {
    const unfinished = [];
    for (const [panel, part] of left) if (!changed() && !(await part.next().catch(failed(panel))).done) unfinished.push([panel, part]);
    left = unfinished;
  }
  if (!changed()) say(panels.map((panel) => `${panel.about.name}: ${caption(panel)}`).join(". "), true);
}

// A model that cannot run here says so in its own panel; the others go on.
const failed = (panel) => ({ message }) => {
  panel.error = `This browser cannot run the model: ${message}`;
  panel.root.querySelector("figcaption").textContent = panel.error;
  return { done: true };
};

// Samples of one panel in parts of about QUICK milliseconds, so that other settings soon take over.
async function* parts(panel, settings, key, changed) {
  const { seeds } = settings;
  panel.key = "";
  panel.milliseconds = 0;
  panel.error = "";
  if (panel.samples.length !== seeds.length) panel.samples = [];
  await load(panel);
  for (let at = 0, size = 1; at < seeds.length;) {
    const part = seeds.slice(at, at + size), { milliseconds, ...drawn } = await answer("sample", { ...settings, seeds: part });
    part.forEach((_, i) => { panel.samples[at + i] = one(drawn, i, part.length); });
    at += part.length;
    size = Math.max(1, Math.floor((QUICK * part.length) / Math.max(1, milliseconds)));
    panel.milliseconds += milliseconds;
    panel.each = milliseconds / part.length;
    paint(panel);
    if (!performance.getEntriesByName("first picture").length) performance.mark("first picture");
    if (changed()) return;
    yield;
  }
  panel.key = key;
  paint(panel);
}

// Sample i of n from x (frames, n, ...).
function one({ x, frames, drawn }, i, n) {
  const numbers = x.length / frames / n, at = (k) => (k * n + i) * numbers;
  return { frames: Array.from({ length: frames }, (_, k) => x.subarray(at(k), at(k) + numbers)), label: drawn.label?.[i] };
}

// Pictures -----------------------------------------------------------------------------------------------------

function paint(panel) {
  const { about, root, samples } = panel, veiled = reached() < 1 && !moves(panel.model);
  const shown = samples.map(({ frames }) => frames[Math.round(reached() * (frames.length - 1))]);
  root.querySelector(".veil").hidden = !veiled;
  root.classList.toggle("veiled", veiled);
  const canvas = root.querySelector("canvas");
  if (about.drawn === "images") images(canvas, shown, about.shape);
  else if (about.drawn === "points") points(panel, canvas, shown);
  else rows(root.querySelector("table"), shown, about);
  const text = caption(panel);
  root.querySelector("figcaption").textContent = text;
  root.dataset.milliseconds = panel.milliseconds;
  canvas?.setAttribute("aria-label", `${about.name}: ${text}`);
}

function caption({ about, samples, each, key, error }) {
  if (error) return error;
  const n = samples.length, label = about.conditions.find((kind) => kind.name === "label");
  const time = (value) => (value < 1000 ? `${brief(value, 2)} ms` : `${brief(value / 1000, 2)} s`);
  const what = n > 1 ? `${n} samples` : label ? `class ${label.names[samples[0].label]}` : "one sample";
  return `${what}, ${time(each)}${n > 1 ? " each" : ""}${key ? "" : " …"}`;
}

const columnsOf = (n) => Math.ceil(Math.sqrt(n));

// One or two channels are gray, three RGB, four RGBA; of more the first three are shown.
function images(canvas, shown, [channels, height, width]) {
  const across = columnsOf(shown.length), gap = shown.length === 1 ? 0 : Math.max(1, Math.round(width / 16));
  const size = [across * (width + gap) - gap, Math.ceil(shown.length / across) * (height + gap) - gap];
  if (canvas.width !== size[0] || canvas.height !== size[1]) [canvas.width, canvas.height] = size;
  const context = canvas.getContext("2d"), pixels = width * height;
  shown.forEach((x, i) => {
    const tile = context.createImageData(width, height);
    for (let p = 0; p < pixels; p++) {
      for (let c = 0; c < 3; c++) tile.data[4 * p + c] = 255 * x[(channels > 2 ? c : 0) * pixels + p];
      tile.data[4 * p + 3] = channels === 4 ? 255 * x[3 * pixels + p] : 255;
    }
    context.putImageData(tile, (i % across) * (width + gap), Math.floor(i / across) * (height + gap));
  });
}

// Points of the plane over axes; a single one with the way that it came.
function points({ about, samples }, canvas, shown) {
  const style = getComputedStyle(canvas), scale = devicePixelRatio, side = Math.round(canvas.clientWidth * scale);
  [canvas.width, canvas.height] = [side, side];
  const context = canvas.getContext("2d"), [mean, std] = [about.units.mean, about.units.std], edge = SPAN * Math.max(...std);
  const place = ([x, y]) => [(0.5 + (x - mean[0]) / (2 * edge)) * side, (0.5 - (y - mean[1]) / (2 * edge)) * side];
  context.font = `${12 * scale}px ${style.fontFamily}`;
  context.lineWidth = scale;
  axes(context, side, scale, place, mean, edge, style);
  context.fillStyle = context.strokeStyle = style.color;
  if (shown.length === 1) {
    const { frames } = samples[0], way = frames.slice(0, Math.round(reached() * (frames.length - 1)) + 1);
    context.beginPath();
    for (const state of way) context.lineTo(...place(state));
    context.stroke();
  }
  context.globalAlpha = shown.length === 1 ? 1 : 0.65;
  for (const point of shown) {
    context.beginPath();
    context.arc(...place(point), (shown.length === 1 ? 5 : 2.4) * scale, 0, 2 * Math.PI);
    context.fill();
  }
  context.globalAlpha = 1;
}

function axes(context, side, scale, place, mean, edge, style) {
  const step = 10 ** Math.floor(Math.log10(edge)) * (edge / 10 ** Math.floor(Math.log10(edge)) < 3 ? 0.5 : 1);
  context.strokeStyle = style.getPropertyValue("--hair");
  context.fillStyle = style.getPropertyValue("--soft");
  const ticks = (middle) => {
    const first = Math.ceil((middle - edge) / step + 0.2), last = Math.floor((middle + edge) / step - 0.2);
    return Array.from({ length: last - first + 1 }, (_, k) => (first + k) * step);
  };
  const line = (...ends) => { context.beginPath(); for (const end of ends) context.lineTo(...end); context.stroke(); };
  context.textAlign = "center";
  for (const x of ticks(mean[0])) {
    const at = place([x, 0])[0];
    line([at, 0], [at, side]);
    context.fillText(brief(x), at, side - 6 * scale);
  }
  context.textAlign = "left";
  for (const y of ticks(mean[1])) {
    const at = place([0, y])[1];
    line([0, at], [side, at]);
    context.fillText(brief(y), 4 * scale, at - 4 * scale);
  }
}

// Rows of a table, or vectors; a single one stands upright.
function rows(table, shown, about) {
  const named = typeof about.columns[0] === "object", names = named ? about.columns.map(({ name }) => name) : about.columns;
  const cells = shown.map((x) => (named ? about.columns.map((column) => cell(column, x)) : [...x].map((value) => brief(value))));
  const heads = names.length ? names : cells[0].map((_, k) => `x${k}`);
  const upright = cells.length === 1, line = (kinds, texts) => {
    const row = document.createElement("tr");
    texts.forEach((text, k) => { row.append(document.createElement(kinds[k] ?? "td")); row.lastChild.textContent = text; });
    return row;
  };
  if (upright) table.replaceChildren(...heads.map((head, k) => line(["th"], [head, cells[0][k]])));
  else table.replaceChildren(line(heads.map(() => "th"), heads), ...cells.map((texts) => line([], texts)));
  for (const head of table.querySelectorAll("th")) head.scope = upright ? "row" : "col";
}

// Controls -----------------------------------------------------------------------------------------------------

function enlarge({ currentTarget, clientX, clientY }, n) {
  const box = currentTarget.getBoundingClientRect(), across = columnsOf(n), down = Math.ceil(n / across);
  if (view() !== "grid") return;
  const column = Math.floor(((clientX - box.left) / box.width) * across);
  const at = across * Math.floor(((clientY - box.top) / box.height) * down) + column;
  if (at >= n) return;
  byId("seed").value = whole("seed") + at;
  document.querySelector("[name=view][value=one]").checked = true;
  refresh();
}

const still = matchMedia("(prefers-reduced-motion: reduce)");
let player = 0;

async function play() {
  const slider = byId("reached"), started = ++player, on = byId("play").classList.toggle("on");
  byId("play").setAttribute("aria-label", on ? "Pause" : "Play the way from noise to data");
  if (!on) return;
  if (slider.valueAsNumber === 100) slider.value = 0;
  await refresh();
  const from = slider.valueAsNumber, began = performance.now();
  const move = (now) => {
    if (started !== player) return;
    const way = Math.min(100, from + Math.max(0, now - began) / (10 * SECONDS));
    slider.value = still.matches ? Math.max(from, 25 * Math.floor(way / 25)) : way;
    refresh();
    if (slider.valueAsNumber < 100) requestAnimationFrame(move);
    else play();
  };
  requestAnimationFrame(move);
}

function listen() {
  for (const panel of panels) {
    if (moves(panel.model)) fitSteps(panel.model, panel.about.default.steps);
    const fit = () => fitSteps(panel.model, byId(`steps-${panel.model}`).dataset.steps);
    byId(`solver-${panel.model}`)?.addEventListener("input", fit);
    if (panel.about.drawn === "images") panel.root.querySelector("canvas").addEventListener("click", (event) => enlarge(event, panel.samples.length));
  }
  document.addEventListener("input", ({ target }) => {
    if (target.id.startsWith("steps")) target.dataset.steps = steps(target.id.split("-")[1]);
    refresh();
  });
  byId("another").addEventListener("click", () => {
    byId("seed").value = whole("seed") + (view() === "grid" ? abouts[0].shown : 1);
    if (view() === "walk") byId("toward").value = whole("toward") + 1;
    refresh();
  });
  byId("play")?.addEventListener("click", play);
  const repaint = () => { for (const panel of panels) if (panel.samples.length) paint(panel); };
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", repaint);
  addEventListener("resize", repaint);
}

listen();
start().then(refresh).catch((error) => say(`This browser cannot run the ${abouts.length > 1 ? "models" : "model"}: ${error.message}`));
