"use strict";
document.documentElement.classList.add("js");
const still = matchMedia("(prefers-reduced-motion: reduce)");

for (const player of document.querySelectorAll(".player")) {
  const controls = player.querySelector(".controls"), button = controls.querySelector("button");
  const slider = controls.querySelector("input"), panels = [...player.querySelectorAll(".panel")];
  const seconds = Number(player.dataset.seconds), end = Number(slider.max);
  let timer = 0;

  const show = () => {
    const share = slider.value / end;
    for (const panel of panels) {
      const sprite = panel.querySelector(".sprite"), last = sprite.dataset.frames - 1;
      const labels = JSON.parse(sprite.dataset.labels), frame = Math.round(share * last);
      const waiting = panel.classList.contains("jump") && share < 1;
      panel.classList.toggle("waiting", waiting);
      sprite.style.backgroundPosition = `0 ${last ? (100 * frame) / last : 100}%`;
      panel.querySelector(".at").textContent = waiting ? "noise" : labels[frame];
    }
  };
  const stop = () => { cancelAnimationFrame(timer); timer = 0; button.textContent = "Play"; };
  const play = () => {
    const from = Number(slider.value) >= end ? 0 : Number(slider.value), began = performance.now();
    button.textContent = "Pause";
    const step = (now) => {
      slider.value = Math.min(end, from + ((now - began) / (1000 * seconds)) * end);
      show();
      if (Number(slider.value) >= end) stop(); else timer = requestAnimationFrame(step);
    };
    timer = requestAnimationFrame(step);
  };
  button.addEventListener("click", () => (timer ? stop() : play()));
  slider.addEventListener("input", () => { if (timer) stop(); show(); });
  controls.hidden = false;
  if (!still.matches && "IntersectionObserver" in window) {
    const watch = new IntersectionObserver((seen) => {
      if (seen.some((one) => one.isIntersecting)) { watch.disconnect(); if (!timer) play(); }
    }, { threshold: 0.5 });
    watch.observe(player.querySelector(".panels"));
  }
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
