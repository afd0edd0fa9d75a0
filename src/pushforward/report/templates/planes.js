// Velocities and trajectories over points in the plane.
for (const player of document.querySelectorAll(".player")) {
  const planes = player.querySelector(".plane-data");
  if (!planes) continue;
  const { side: SIDE, scale: SCALE, models } = JSON.parse(planes.textContent);
  const bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0)).buffer;
  const fields = Object.entries(models).map(([number, model]) => {
    const panel = player.querySelector(`.panel[data-model="${number}"]`);
    return { ...model, panel, ways: new Int16Array(bytes(model.ways)), arrows: new Int8Array(bytes(model.arrows)) };
  }).filter((field) => field.panel);
  const chooser = player.querySelector(".class-of-field"), toggle = (name) => player.querySelector(`[data-layer=${name}]`);
  let t = 0, starts = [];

  // Returns the index of the last time before t, and the fraction of the way to the next one.
  const between = (times) => {
    let at = 0;
    while (at < times.length - 2 && times[at + 1] >= t) at += 1;
    return [at, Math.min(1, Math.max(0, (times[at] - t) / (times[at] - times[at + 1])))];
  };
  const group = () => (chooser ? Number(chooser.value) : 0);

  const arrows = (field) => {
    const path = field.panel.querySelector(".arrows"), n = field.side;
    if (!toggle("arrows").checked || t <= 0) { path.setAttribute("d", ""); return; }
    const [at, share] = between(field.times), [left, top, right, bottom] = field.around, parts = [];
    const reach = (0.82 * SIDE * (right - left)) / n;
    for (let row = 0; row < n; row += 1) {
      for (let column = 0; column < n; column += 1) {
        const place = (moment) => 2 * (((group() * field.times.length + moment) * n + row) * n + column);
        const [a, b] = [place(at), place(at + 1)];
        const dx = ((1 - share) * field.arrows[a] + share * field.arrows[b]) / 127;
        const dy = ((1 - share) * field.arrows[a + 1] + share * field.arrows[b + 1]) / 127;
        if (Math.hypot(dx, dy) < 0.03) continue;
        const x = SIDE * (left + ((column + 0.5) / n) * (right - left)), y = SIDE * (bottom - ((row + 0.5) / n) * (bottom - top));
        const ex = x + reach * dx, ey = y + reach * dy, hx = 0.3 * reach * dx, hy = 0.3 * reach * dy;
        parts.push(`M${x.toFixed(0)} ${y.toFixed(0)}L${ex.toFixed(0)} ${ey.toFixed(0)}`);
        parts.push(`M${(ex - hx - hy * 0.6).toFixed(0)} ${(ey - hy + hx * 0.6).toFixed(0)}L${ex.toFixed(0)} ${ey.toFixed(0)}`);
        parts.push(`L${(ex - hx + hy * 0.6).toFixed(0)} ${(ey - hy - hx * 0.6).toFixed(0)}`);
      }
    }
    path.setAttribute("d", parts.join(""));
  };

  const cell = (field, [x, y]) => {
    const [left, top, right, bottom] = field.around, n = field.cells;
    const clamp = (share) => Math.min(n - 1, Math.max(0, Math.floor(share * n)));
    return [clamp((bottom - y) / (bottom - top)), clamp((x - left) / (right - left))];
  };
  const ways = (field) => {
    const n = field.cells, length = field.way_times.length, [at, share] = between(field.way_times);
    const marks = starts.map((start) => {
      const [row, column] = cell(field, start), first = 2 * (((group() * n + row) * n + column) * length);
      const point = (number) => [0, 1].map((axis) => (SIDE * field.ways[first + 2 * number + axis]) / SCALE);
      const points = Array.from({ length: at + 1 }, (_, number) => point(number));
      points.push(point(at).map((value, axis) => (1 - share) * value + share * point(at + 1)[axis]));
      const text = points.map(([x, y]) => `${x.toFixed(1)} ${y.toFixed(1)}`);
      const [x, y] = points[0], [u, v] = points[points.length - 1];
      return `<path class="way" d="M${text.join("L")}"/><circle class="from" cx="${x}" cy="${y}" r="9"/>`
        + `<circle class="to" cx="${u}" cy="${v}" r="12"/>`;
    });
    field.panel.querySelector(".ways").innerHTML = marks.join("");
  };
  const draw = () => { for (const field of fields) { arrows(field); ways(field); } };

  const launch = (places) => {
    starts = [...starts, ...places].slice(-60);
    draw();
  };
  for (const field of fields) {
    const stage = field.panel.querySelector(".stage");
    stage.classList.add("clickable");
    stage.addEventListener("click", (event) => {
      const at = stage.getBoundingClientRect();
      launch([[(event.clientX - at.left) / at.width, (event.clientY - at.top) / at.height]]);
    });
  }
  player.querySelector(".launch")?.addEventListener("click", () => {
    const turn = starts.length / 12;
    launch(Array.from({ length: 12 }, (_, i) => {
      const angle = (2 * Math.PI * (i + turn / 3)) / 12, reach = 0.14 + 0.26 * (((i + turn) * 5) % 7) / 6;
      return [0.5 + reach * Math.cos(angle), 0.5 + reach * Math.sin(angle)];
    }));
  });
  player.querySelector(".clear")?.addEventListener("click", () => { starts = []; draw(); });
  chooser?.addEventListener("change", draw);
  toggle("arrows")?.addEventListener("change", draw);
  player.addEventListener("moved", (event) => { t = event.detail.t; draw(); });
}

for (const box of document.querySelectorAll(".switches [data-layer=land]")) {
  const apply = () => {
    for (const layer of box.closest(".player").querySelectorAll(`.${box.dataset.layer}`)) layer.toggleAttribute("hidden", !box.checked);
  };
  box.addEventListener("change", apply);
  apply();
}
