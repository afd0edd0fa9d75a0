"use strict";
// Coordinates of a table's rows as cells, by the columns of their description, and numbers as text.

const MONTHS = [
  "January", "February", "March", "April", "May", "June",
  "July", "August", "September", "October", "November", "December",
];

function dated(seconds, pattern) {
  const at = new Date(1000 * seconds), padded = (number, digits = 2) => String(number).padStart(digits, "0");
  const [year, month, day, hour] = [at.getUTCFullYear(), at.getUTCMonth(), at.getUTCDate(), at.getUTCHours()];
  const parts = {
    Y: padded(year, 4), y: padded(year % 100), B: MONTHS[month], b: MONTHS[month].slice(0, 3), m: padded(month + 1),
    d: padded(day),
    H: padded(hour), I: padded(hour % 12 || 12), p: hour < 12 ? "AM" : "PM", M: padded(at.getUTCMinutes()),
    S: padded(at.getUTCSeconds()), f: padded(1000 * at.getUTCMilliseconds(), 6), "-d": day, "-m": month + 1, "-H": hour, "%": "%",
  };
  return pattern.replace(/%(-?[A-Za-z%])/g, (whole, part) => parts[part] ?? whole);
}

function written(value, { decimals, digits, pattern, unit, point, least }) {
  if (pattern) return dated(Math.round(value / unit) * unit, pattern);
  const text = decimals === null ? brief(value, digits ?? 6) : (Number(value.toFixed(decimals)) + 0).toFixed(decimals);
  const [whole, all = ""] = text.split(".");
  const fraction = least === null ? all : all.replace(/0+$/, "").padEnd(least, "0");
  return fraction ? whole + point + fraction : whole;
}

function brief(value, digits = 4) {
  return String(Number(value.toPrecision(digits)));
}

// How many of rising edges lie below a score.
function below(edges, score) {
  let low = 0, high = edges.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (edges[middle] < score) low = middle + 1;
    else high = middle;
  }
  return low;
}

// Numbers are linear in scores between edges.
function between({ edges, numbers }, score) {
  const at = below(edges, score);
  if (at === 0 || at === edges.length) return numbers[Math.max(0, at - 1)];
  const share = (score - edges[at - 1]) / (edges[at] - edges[at - 1]);
  return numbers[at - 1] + share * (numbers[at] - numbers[at - 1]);
}

function cell(column, coordinates) {
  const part = coordinates.slice(column.start, column.stop), greatest = (block) => block.indexOf(Math.max(...block));
  if (!("edges" in column)) return column.texts[greatest([...part])];
  const [score, ordinary, ...special] = part, held = column.cells ?? column.numbers;
  if (held.length === 0) return column.texts[Math.max(0, greatest(special))] ?? "";
  const chosen = ordinary === undefined ? 0 : greatest([ordinary, ...special]);
  if (chosen > 0) return column.texts[chosen - 1];
  return column.cells ? column.cells[below(column.edges, score)] : written(between(column, score), column);
}
