"use strict";
const $ = (id) => document.getElementById(id);
let file = null, columns = [], told = [];
const SVG = "http://www.w3.org/2000/svg";

function number(value) {
  if (value === null || value === undefined) return "";
  if (typeof value !== "number") return String(value);
  return Math.abs(value) >= 1000 ? value.toFixed(0) : String(Number(value.toPrecision(4)));
}
function fill(table, heads, rows, classes = []) {
  const [head, body] = [table.tHead, table.tBodies[0]];
  head.replaceChildren(); body.replaceChildren();
  const line = head.insertRow();
  heads.forEach((name, i) => { const cell = document.createElement("th"); cell.textContent = name; cell.className = classes[i] || ""; line.append(cell); });
  for (const row of rows) {
    const line = body.insertRow();
    if (row.invalid) line.className = "invalid";
    row.cells.forEach((value, i) => { const cell = line.insertCell(); cell.textContent = number(value); cell.className = classes[i] || ""; });
  }
}
// What was told of the columns is not told again.
function notes(found) {
  const unused = Object.entries(found.not_used || {}).map(([n, w]) => `${n} is not used: ${w}.`);
  return [...unused, ...found.notes.filter((n) => !told.includes(n))].map((n) => " " + n + (/[.!?]$/.test(n) ? "" : ".")).join("");
}
function say(text, bad = false) { $("status").textContent = text; $("status").className = bad ? "bad" : ""; }
async function ask(route, fields = {}) {
  const form = new FormData();
  form.append("table", file);
  for (const [name, value] of Object.entries(fields)) form.append(name, value);
  const headers = $("token").value ? { Authorization: "Bearer " + $("token").value } : {};
  const answer = await fetch(route, { method: "POST", body: form, headers });
  let found = null;
  try { found = await answer.json(); } catch { /* not JSON */ }
  if (answer.status === 401) $("token-line").hidden = false;
  if (!answer.ok) throw new Error(found && typeof found.detail === "string" ? found.detail : `the server answered ${answer.status}`);
  return found;
}
async function working(what, work) {
  const buttons = [...document.querySelectorAll("button")];
  buttons.forEach((b) => (b.disabled = true));
  say(what);
  const started = performance.now();
  try { await work(); say(`done in ${((performance.now() - started) / 1000).toFixed(1)} s`); }
  catch (error) { say(error.message, true); }
  buttons.forEach((b) => (b.disabled = false));
}
function take(chosen) {
  if (!chosen) return;
  file = chosen;
  for (const id of ["predictions", "why", "answer", "columns"]) $(id).hidden = true;
  working(`reading ${file.name} ...`, async () => {
    told = [];
    const found = await ask("columns");
    $("shape").textContent = `${file.name}: ${found.n_rows} rows, ${found.columns.length} columns.` + notes(found);
    [columns, told] = [found.columns, found.notes];
    fill($("columns").querySelector("table"), ["column", "taken for", "missing", "example", "why"],
      found.columns.map((c) => ({ cells: [c.column, c.taken_for, c.n_missing, c.example, c.why] })), ["", "", "number", "", "why"]);
    const target = $("target");
    target.replaceChildren(...found.columns.map((c) => new Option(c.column, c.column)));
    const gaps = found.columns.filter((c) => c.n_missing > 0).sort((a, b) => b.n_missing - a.n_missing);
    target.value = (gaps[0] || found.columns[found.columns.length - 1]).column;
    suggest();
    $("columns").hidden = false;
  });
}
function suggest() {
  const column = columns.find((c) => c.column === $("target").value);
  const isNumber = column.taken_for === "number" || column.example === "True" || column.example === "False";
  $("estimand").value = isNumber ? "mean: " + column.column : `share: ${column.column} = ${column.example}`;
}

function svg(name, attributes, parent, text) {
  const node = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  if (text !== undefined) node.textContent = text;
  parent.append(node);
  return node;
}
function ticks(least, most) {
  const rough = (most - least || 1) / 5, unit = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((k) => k * unit).find((size) => size >= rough);
  const found = [];
  for (let k = Math.ceil(least / step); k * step <= most; k++) found.push(Number((k * step).toPrecision(12)));
  return found;
}
function intervals(place, rows, zero = false) {
  const known = rows.flatMap((r) => [r.low, r.high, r.at]).filter((v) => v !== null && v !== undefined);
  place.replaceChildren();
  if (!known.length) return;
  let [least, most] = [Math.min(...known), Math.max(...known)];
  if (zero) { least = Math.min(least, 0); most = Math.max(most, 0); }
  const [left, width, step] = [190, 560, 24];
  const x = (v) => left + ((v - least) / (most - least || 1)) * width;
  const figure = svg("svg", { viewBox: `0 0 820 ${rows.length * step + 34}`, role: "img", "aria-label": "intervals, as in the table" }, place);
  if (zero) svg("line", { x1: x(0), x2: x(0), y1: 4, y2: rows.length * step + 6, stroke: "#999" }, figure);
  rows.forEach((r, i) => {
    const y = 16 + i * step, color = r.invalid ? "#c0392b" : r.best ? "#1f5fa8" : "#7d8896";
    svg("text", { x: left - 10, y: y + 4, "text-anchor": "end" }, figure, r.name.length > 24 ? r.name.slice(0, 23) + "…" : r.name);
    if (r.low !== null && r.high !== null) svg("line", { x1: x(r.low), x2: x(r.high), y1: y, y2: y, stroke: color, "stroke-width": 3 }, figure);
    svg("circle", { cx: x(r.at), cy: y, r: 4.5, fill: color }, figure);
  });
  const base = rows.length * step + 12;
  svg("line", { x1: left, x2: left + width, y1: base, y2: base, stroke: "#333" }, figure);
  for (const tick of ticks(least, most)) {
    svg("line", { x1: x(tick), x2: x(tick), y1: base, y2: base + 4, stroke: "#333" }, figure);
    svg("text", { x: x(tick), y: base + 17, "text-anchor": "middle" }, figure, number(tick));
  }
}

$("predict").onclick = () => working("predicting ...", async () => {
  const found = await ask("predict", { target: $("target").value, coverage: $("coverage").value });
  const numeric = found.task === "regression";
  const heads = numeric ? ["row", "prediction", "lower", "upper"] : ["row", "prediction", "probability", "set"];
  const cells = found.predictions.map((p) => numeric ? [p.name ?? p.row, p.prediction, p.lower, p.upper] : [p.name ?? p.row, p.prediction, p.probability, p.set.join(", ")]);
  fill($("predictions").querySelector("table"), heads, cells.map((c) => ({ cells: c })), numeric ? ["", "number", "number", "number"] : ["", "", "number", ""]);
  $("predicted").textContent = (cells.length < found.n_to_predict ? `The first ${cells.length} of ${found.n_to_predict} rows to predict (icl predict gives all), ` : `${found.n_to_predict} rows predicted, `) + `from ${found.n_labelled} labelled ones; ` +
    (numeric ? "intervals" : "sets of classes") + ` hold ${Math.round(100 * found.coverage)} % of new rows.` +
    (found.baseline ? ` Out of context: ${found.baseline}.` : "") + notes(found);
  intervals($("bars"), numeric ? found.predictions.slice(0, 12).map((p) => ({ name: p.name ?? "row " + p.row, at: p.prediction, low: p.lower, high: p.upper, best: true })) : []);
  const guarded = (v) => { const t = String(v ?? ""); const safe = typeof v === "string" && /^[=+\-@\t\r]/.test(t) ? "'" + t : t; return /[",\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe; };
  $("save").href = "data:text/csv;charset=utf-8," + encodeURIComponent([heads, ...cells].map((line) => line.map(guarded).join(",")).join("\n"));
  $("predictions").hidden = false;
});
$("explain").onclick = () => working("explaining ...", async () => {
  const found = await ask("explain", { target: $("target").value, rows: 3 });
  $("reasons").replaceChildren();
  for (const row of found.rows) {
    const title = document.createElement("h3");
    title.textContent = `${row.name ?? "row " + row.row}: ${number(row.prediction)}`;
    const place = document.createElement("div");
    $("reasons").append(title, place);
    intervals(place, row.columns.slice(0, 8).map((c) => ({ name: `${c.column} = ${number(c.cell)}`, at: c.adds, low: Math.min(0, c.adds), high: Math.max(0, c.adds), best: c.adds >= 0, invalid: c.adds < 0 })), true);
  }
  const note = document.createElement("p");
  note.className = "quiet";
  note.textContent = "What each column adds to the prediction (Shapley values), blue upwards, red downwards. It says what the answer rests on, not what would happen if the cell were changed." + notes(found);
  $("reasons").append(note);
  $("why").hidden = false;
});
$("estimate").onclick = () => working("estimating ...", async () => {
  const found = await ask("estimate", { estimand: $("estimand").value });
  $("warnings").replaceChildren(...found.diagnostics.filter((d) => d.severity === "warning").map((d) => { const p = document.createElement("p"); p.className = "warning"; p.textContent = d.message; return p; }));
  fill($("answer").querySelector("table"), ["term", "estimate", "std. error", `${Math.round(1000 * found.level) / 10} % low`, "high", "p", "n effective"],
    found.estimates.map((e) => ({ cells: [e.term, e.estimate, e["std.error"], e["conf.low"], e["conf.high"], e["p.value"] !== null && e["p.value"] < 0.0001 ? "< 0.0001" : e["p.value"], e.n_effective === null ? "" : Math.round(e.n_effective)] })), ["", ...Array(6).fill("number")]);
  const terms = new Set(found.estimates.map((e) => e.term).filter((t) => t !== "Intercept").slice(0, 3));
  const several = terms.size > 1;
  intervals($("forest"), found.comparison.filter((c) => terms.has(c.term)).map((c) => ({ name: (several ? c.term + ": " : "") + c.method + (c.valid === false ? " (INVALID)" : ""), at: c.estimate, low: c.lower, high: c.upper, invalid: c.valid === false, best: c.method === found.method })));
  $("assumption").textContent = `${found.n_labeled} labelled and ${found.n_unlabeled} unlabelled rows. Assumes ${found.assumption}. n effective: labelled rows that would give the same precision without predictions.` + notes(found);
  $("answer").hidden = false;
});
$("target").onchange = suggest;
$("ask").onsubmit = (event) => event.preventDefault();
$("file").onchange = () => take($("file").files[0]);
$("drop").onkeydown = (event) => { if (event.key === "Enter") $("file").click(); };
for (const kind of ["dragover", "dragenter"]) $("drop").addEventListener(kind, (event) => { event.preventDefault(); $("drop").classList.add("over"); });
$("drop").addEventListener("dragleave", () => $("drop").classList.remove("over"));
$("drop").addEventListener("drop", (event) => { event.preventDefault(); $("drop").classList.remove("over"); take(event.dataTransfer.files[0]); });
