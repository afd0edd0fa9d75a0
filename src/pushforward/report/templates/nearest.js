// Shows the training image nearest to the sample under the pointer or reached with the arrow keys.
for (const stage of document.querySelectorAll(".stage[data-distances]")) {
  const box = stage.querySelector(".near"), cursor = stage.querySelector(".cursor"), panel = stage.closest(".panel");
  const distances = JSON.parse(stage.dataset.distances), columns = Number(stage.dataset.columns), count = distances.length;
  const side = Math.min(columns, Math.ceil(Math.sqrt(count))), rows = Math.ceil(count / side);
  let chosen = 0;

  const show = (number) => {
    if (number < 0 || number >= count || panel.classList.contains("moving")) return;
    chosen = number;
    const column = number % side, row = Math.floor(number / side);
    box.querySelector(".pairs").style.backgroundPosition = `0 ${count > 1 ? (100 * number) / (count - 1) : 0}%`;
    box.querySelector(".words").textContent =
      `Distance ${distances[number]} (median of held-out images ${stage.dataset.usual})`;
    cursor.style.cssText = `left:${(100 * column) / side}%;top:${(100 * row) / rows}%;width:${100 / side}%;height:${100 / rows}%`;
    box.classList.toggle("above", row >= rows / 2);
    box.classList.toggle("leftwards", stage.getBoundingClientRect().left + 260 > document.documentElement.clientWidth);
    box.hidden = cursor.hidden = false;
  };
  const hide = () => { box.hidden = cursor.hidden = true; };
  const under = (event) => {
    const at = stage.getBoundingClientRect(), x = (event.clientX - at.left) / at.width, y = (event.clientY - at.top) / at.height;
    return x < 0 || y < 0 || x >= 1 || y >= 1 ? -1 : Math.floor(y * rows) * side + Math.floor(x * side);
  };
  stage.addEventListener("pointermove", (event) => show(under(event)));
  stage.addEventListener("pointerdown", (event) => show(under(event)));
  stage.addEventListener("pointerleave", (event) => { if (event.pointerType === "mouse") hide(); });
  stage.addEventListener("focus", () => { if (stage.matches(":focus-visible")) show(chosen); });
  stage.addEventListener("blur", hide);
  stage.addEventListener("keydown", (event) => {
    const moves = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -side, ArrowDown: side };
    if (event.key === "Escape") hide();
    if (!(event.key in moves)) return;
    event.preventDefault();
    const next = chosen + moves[event.key];
    if (next >= 0 && next < count) show(next);
  });
  stage.closest(".player").addEventListener("moved", (event) => { if (event.detail.share < 1) hide(); });
}
