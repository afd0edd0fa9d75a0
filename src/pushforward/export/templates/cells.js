"use strict";
// Coordinates of a table's rows as cells, by the columns of their description: what rows.py writes, byte for byte.

const MONTHS = [
  "January", "February", "March", "April", "May", "June",
  "July", "August", "September", "October", "November", "December",
];

const DAYS = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
const UNITS = [["%f", 1e-6], ["%S", 1], ["%M", 60], ["H", 3600]];

function dated(value, pattern) {
  let seconds = Math.trunc(value), micro = nearest((value - seconds) * 1e6);
  if (micro < 0) [seconds, micro] = [seconds - 1, micro + 1e6];
  if (micro >= 1e6) [seconds, micro] = [seconds + 1, micro - 1e6];
  const at = new Date(1000 * seconds), padded = (number, digits = 2) => String(number).padStart(digits, "0");
  const [year, month, day, hour] = [at.getUTCFullYear(), at.getUTCMonth(), at.getUTCDate(), at.getUTCHours()];
  const number = 1 + Math.round((Date.UTC(2000, month, day) - Date.UTC(2000, 0, 1)) / 864e5);
  const leap = new Date(Date.UTC(year, 1, 29)).getUTCMonth() === 1;
  const parts = {
    Y: padded(year, 4), y: padded(year % 100), B: MONTHS[month], b: MONTHS[month].slice(0, 3), m: padded(month + 1),
    d: padded(day), A: DAYS[at.getUTCDay()], a: DAYS[at.getUTCDay()].slice(0, 3), w: at.getUTCDay(),
    j: padded(number - (month > 1 && !leap), 3), H: padded(hour), I: padded(hour % 12 || 12), p: hour < 12 ? "AM" : "PM",
    M: padded(at.getUTCMinutes()), S: padded(at.getUTCSeconds()), f: padded(micro, 6), z: "+0000", Z: "UTC",
    "-d": day, "-m": month + 1, "-H": hour, "%": "%",
  };
  return pattern.replace(/%(-?[A-Za-z%])/g, (whole, part) => parts[part] ?? whole);
}

// The nearest whole number; of two the even one, as numpy.rint.
function nearest(value) {
  const upper = Math.round(value);
  return Math.abs(value % 1) === 0.5 && upper % 2 ? upper - 1 : upper;
}

// The first digits of a number as a whole number: the nearest one, of two the even one.
function cut(digits, kept) {
  const first = BigInt(digits.slice(0, kept) || "0"), rest = digits.slice(kept), half = "5".padEnd(rest.length, "0");
  return rest > half || (rest === half && first % 2n) ? first + 1n : first;
}

// Format a number with a fixed number of decimals, as Python's f"{value:.{decimals}f}", without -0.
function fixed(value, decimals) {
  const size = Math.abs(value), exact = size < 1e21 ? size.toFixed(100) : `${BigInt(size)}.${"0".repeat(100)}`;
  const [whole, fraction] = exact.split("."), kept = cut(whole + fraction, whole.length + decimals);
  const text = String(kept).padStart(decimals + 1, "0"), at = text.length - decimals;
  return (value < 0 && kept ? "-" : "") + text.slice(0, at) + (decimals ? `.${text.slice(at)}` : "");
}

// Round a number to significant digits, as float(f"{value:.{digits}g}").
function significant(value, digits) {
  if (!value) return value;
  const [mantissa, power] = Math.abs(value).toExponential(100).split("e"), kept = Math.max(1, digits);
  return Math.sign(value) * Number(`${cut(mantissa.replace(".", ""), kept)}e${power - kept + 1}`);
}

// The shortest text that reads back as the number, as Python's repr; whole numbers without a point.
function shortest(value) {
  if (Number.isInteger(value) && Math.abs(value) < 2 ** 53) return String(value);
  const [digits, power] = value.toExponential().split("e");
  const sign = power < 0 ? "-" : "+";
  if (power < -4 || power >= 16) return `${digits}e${sign}${String(Math.abs(power)).padStart(2, "0")}`;
  return Number.isInteger(value) ? `${value}.0` : String(value);
}

function rounded(value, { decimals, digits, pattern }) {
  if (pattern) {
    const [, unit] = UNITS.find(([part]) => pattern.includes(part)) ?? ["", 86400];
    return nearest(value / unit) * unit;
  }
  if (digits !== null) return significant(value, digits);
  if (decimals === null) return value;
  const scale = Number(`1e${decimals}`);
  return nearest(value * scale) / scale + 0;
}

function plain(value, { decimals, digits, least }) {
  if (decimals === null) return shortest(digits === null ? value : significant(value, digits));
  const text = fixed(value, decimals), [whole, fraction = ""] = text.split(".");
  if (least === null || least >= decimals) return text;
  const left = fraction.replace(/0+$/, "").padEnd(least, "0");
  return left ? `${whole}.${left}` : whole;
}

function written(value, form) {
  if (form.pattern) return dated(value, form.pattern);
  const text = plain(value, form), [whole, ...fraction] = text.replace(/^-/, "").split(".");
  const grouped = form.group && /^\d+$/.test(whole) ? whole.replace(/\B(?=(\d{3})+$)/g, () => form.group) : whole;
  const positive = form.plus && Number(text) > 0 ? "+" : "";
  const number = [grouped, ...fraction].join(form.point);
  return (text.startsWith("-") ? "-" : positive) + form.prefix + number + form.suffix;
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

// Numbers are linear in scores between edges, as numpy.interp; a score in float32 finds its edge.
function between({ edges, numbers, form }, score) {
  const most = edges.length - 1, first = numbers[0], last = numbers[most], short = below(edges.map(Math.fround), score);
  if (Math.fround(edges[short]) === score) return numbers[short];
  let at = below(edges, score);
  while (at <= most && edges[at] === score) at++;
  const left = at - 1;
  let value = left < 0 ? first : last;
  if (left >= 0 && left < most) {
    const slope = (numbers[at] - numbers[left]) / (edges[at] - edges[left]);
    value = edges[left] === score ? numbers[left] : slope * (score - edges[left]) + numbers[left];
  }
  return Math.min(Math.max(rounded(value, form), first), last);
}

function cell(column, coordinates) {
  const part = coordinates.slice(column.start, column.stop), greatest = (block) => block.indexOf(Math.max(...block));
  if (!("edges" in column)) return column.texts[greatest([...part])];
  const [score, ordinary, ...special] = part, held = column.cells ?? column.numbers;
  if (held.length === 0) return column.texts[Math.max(0, greatest(special))] ?? "";
  const chosen = ordinary === undefined ? 0 : greatest([ordinary, ...special]);
  if (chosen > 0) return column.texts[chosen - 1];
  return column.cells ? column.cells[below(column.edges, score)] : written(between(column, score), column.form);
}
