"use strict";
document.documentElement.classList.add("js");
const still = matchMedia("(prefers-reduced-motion: reduce)");
const SECONDS = { t: 4, f: 5 };

for (const player of document.querySelectorAll(".player")) {
  const controls = player.querySelector(".controls");
  if (!controls) continue;
  const panels = [...player.querySelectorAll(".panel[data-model]")];
  const sliders = new Map([...controls.querySelectorAll(".control")].map((one) => [one.dataset.kind, one]));
  const input = (kind) => sliders.get(kind).querySelector("input");
  let playing = null;

  // One slider moves at a time. Sampling uses the trained weights, and training shows finished samples.
  const show = (kind) => {
    for (const other of sliders.keys()) if (other !== kind) input(other).value = input(other).max;
    for (const name of sliders.keys()) describe(name);
    const share = input(kind).value / input(kind).max;
    for (const panel of panels) draw(panel, kind, share);
    const t = kind === "f" ? 1 - share : 0;
    player.dispatchEvent(new CustomEvent("moved", { detail: { kind, share, t } }));
  };
  const describe = (kind) => {
    const control = sliders.get(kind), slider = input(kind), shares = JSON.parse(control.dataset.shares);
    const percent = shares.length ? shares[slider.value] : Math.round((100 * slider.value) / slider.max);
    slider.setAttribute("aria-valuetext", `${percent} % of ${kind === "t" ? "training" : "sampling"}`);
  };
  const draw = (panel, kind, share) => {
    const sprites = [...panel.querySelectorAll(".sprite")], moving = share < 1;
    const shown = moving ? sprites.find((one) => one.classList[1][0] === kind) : undefined;
    const veil = panel.querySelector(".veil"), at = panel.querySelector(".at");
    const waiting = Boolean(veil) && moving && kind === "f";
    for (const sprite of sprites) sprite.hidden = sprite !== shown;
    if (veil) veil.hidden = !waiting;
    panel.querySelector(".still").style.visibility = shown || waiting ? "hidden" : "";
    panel.classList.toggle("moving", moving);
    let label = at.dataset.rest;
    if (shown) {
      const last = shown.dataset.frames - 1, frame = Math.round(share * last);
      shown.style.backgroundPosition = `0 ${(100 * frame) / last}%`;
      label = JSON.parse(shown.dataset.labels)[frame];
    } else if (waiting) label = "noise";
    at.textContent = label;
    const land = panel.querySelector(".land");
    if (land) {
      const last = land.dataset.frames - 1, frame = kind === "t" ? Math.round(share * last) : last;
      land.style.backgroundPosition = `0 ${last ? (100 * frame) / last : 0}%`;
    }
  };
  const stop = () => {
    if (!playing) return;
    clearInterval(playing.timer);
    const button = sliders.get(playing.kind).querySelector("button");
    button.classList.remove("on");
    button.setAttribute("aria-label", button.getAttribute("aria-label").replace("Pause", "Play"));
    playing = null;
  };
  const play = (kind) => {
    stop();
    const slider = input(kind), last = Number(slider.max), button = sliders.get(kind).querySelector("button");
    if (Number(slider.value) >= last) slider.value = 0;
    button.classList.add("on");
    button.setAttribute("aria-label", button.getAttribute("aria-label").replace("Play", "Pause"));
    show(kind);
    const step = () => {
      if (Number(slider.value) >= last) {
        stop();
        return;
      }
      slider.value = Number(slider.value) + 1;
      show(kind);
    };
    playing = { kind, timer: setInterval(step, Math.min(700, (1000 * SECONDS[kind]) / last)) };
  };
  for (const [kind, control] of sliders) {
    control.querySelector("button").addEventListener("click", () => (playing && playing.kind === kind ? stop() : play(kind)));
    input(kind).addEventListener("input", () => { stop(); show(kind); });
  }
  controls.hidden = false;
  if (!sliders.size) continue;
  show([...sliders.keys()].pop());
}

for (const block of document.querySelectorAll(".copyable")) {
  const button = document.createElement("button"), text = block.querySelector("pre");
  button.type = "button";
  button.textContent = "Copy";
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(text.textContent);
      button.textContent = "Copied";
    } catch {
      getSelection().selectAllChildren(text);
      button.textContent = "Selected";
    }
    setTimeout(() => { button.textContent = "Copy"; }, 1500);
  });
  block.append(button);
}

// A link opens its section, and printing opens all sections.
const unfold = () => { if (location.hash.length > 1) document.getElementById(location.hash.slice(1))?.querySelector("details")?.setAttribute("open", ""); };
addEventListener("hashchange", unfold);
addEventListener("beforeprint", () => { for (const one of document.querySelectorAll("details")) one.open = true; });
unfold();
