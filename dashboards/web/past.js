// What the charts show: the last ten minutes out of memory, or any window of any run out of its database.
"use strict";
const COLORS = 8, color = (i) => `--c${i % COLORS}`;
const KEPT_S = 600;
// The lists of the last ten minutes are made once and never get longer, so that a page that is open for weeks holds
// what it held at first. They are full numbers of seconds and short ones of what was measured (seven digits), NaN
// where nothing is known. All are pushed together, once in the time that they are longer than ten minutes.
// Chosen: points no closer than the eye would see on a wide screen, and a minute of patience.
const APART_S = 0.3, SLOTS = Math.ceil((KEPT_S + 60) / APART_S);
const unknown = () => new Float32Array(SLOTS).fill(NaN);
const trail = () => ({ p: unknown(), q: unknown(), f: unknown(), v: unknown() });
const past = {
  from: 0, to: 0, times: new Float64Array(SLOTS), bus: { f: unknown(), v: unknown() }, devices: new Map(),
  // The part of a list that counts.
  of(list) { return list.subarray(this.from, this.to); },
  get t() { return this.of(this.times); },
  get latest() { return this.to > this.from ? this.times[this.to - 1] : null; },
  // Every list of measurements.
  *lists() { yield this.bus.f; yield this.bus.v; for (const { p, q, f, v } of this.devices.values()) { yield p; yield q; yield f; yield v; } },
  device(name) { if (!this.devices.has(name)) this.devices.set(name, trail()); return this.devices.get(name); },
  // A slot for a new point, at which nothing is known yet.
  next(t) {
    if (this.to === SLOTS) {
      for (const list of [this.times, ...this.lists()]) list.copyWithin(0, this.from, this.to);
      this.to -= this.from;
      this.from = 0;
    }
    for (const list of this.lists()) list[this.to] = NaN;
    this.times[this.to] = t;
    while (this.times[this.from] < t - KEPT_S) this.from += 1;
    this.to += 1;
    return this.to - 1;
  },
};
const charts = {
  p: new Curves($("chart-p"), $("keys-p"), "W", 0, 100, null),
  q: new Curves($("chart-q"), $("keys-q"), "var", 0, 100, null),
  f: new Curves($("chart-f"), $("keys-f"), "Hz", 3, 0.1, null),
  v: new Curves($("chart-v"), $("keys-v"), "V", 1, 4, null),
};
// Of each device: what is remembered, and how the history of ten minutes and that of a window call it.
const TRACES = { p: "p_w", q: "q_var", f: "f_hz", v: "v_v" };

// Filled once from /history, then from the stream.
function remember(state) {
  const c = state.cycle;
  if (!c || (past.latest != null && c.t_s - past.latest < APART_S)) return;
  const usable = (known) => (known.quality === "good" || known.quality === "held" ? known.value ?? NaN : NaN);
  for (const d of state.devices) past.device(d.name);
  const at = past.next(c.t_s);
  past.bus.f[at] = state.estimate.f_hz ?? NaN;
  past.bus.v[at] = state.estimate.v_v ?? NaN;
  for (const d of state.devices) {
    const kept = past.device(d.name);
    for (const key in TRACES) kept[key][at] = usable(d[TRACES[key]]);
  }
}
async function recall() {
  const h = await (await fetch("/api/v1/history")).json();
  past.from = past.to = 0;
  past.devices.clear();
  for (const d of h.devices) past.device(d.name);
  h.t_s.forEach((t, i) => {
    const at = past.next(t);
    past.bus.f[at] = h.f_hz[i] ?? NaN;
    past.bus.v[at] = h.v_v[i] ?? NaN;
    for (const d of h.devices) for (const key in TRACES) past.device(d.name)[key][at] = d[TRACES[key]][i] ?? NaN;
  });
}

// Another window than the last ten minutes comes out of the database of a run: from the lists, or as it was
// chosen on a chart.
const PAST_EVERY_MS = 5000, SETTLES_MS = 200, NARROWEST_S = 1;
let stretch = null, asking = 0, zoom = null, settling = null;
function chosen() {
  const run = $("past-run").value, span = $("past-span").value;
  return !zoom && run === "" && span === "600" ? null : { run, span };
}
function seconds() {
  const picked = [...$("past-run").options].find((o) => o.selected);
  return picked && picked.dataset.seconds ? Number(picked.dataset.seconds) : past.latest ?? 0;
}
async function look() {
  const choice = chosen(), mine = ++asking;
  $("past-back").disabled = !zoom;
  if (!choice) { stretch = null; $("past-note").textContent = ""; plot(); return; }
  const query = new URLSearchParams({ points: "600" });
  if (choice.run) query.set("run", choice.run);
  if (zoom) { query.set("from_s", zoom.from.toFixed(3)); query.set("to_s", zoom.to.toFixed(3)); }
  else if (choice.span !== "all") query.set("from_s", String(Math.max(0, seconds() - Number(choice.span))));
  try {
    const answer = await fetch(`/api/v1/history?${query}`);
    const said = await answer.json();
    if (mine !== asking) return;
    if (!answer.ok) { $("past-note").textContent = `${said.message}; ${said.help}.`; return; }
    stretch = said;
    $("past-note").textContent = `${Format.clock(said.from_s)} to ${Format.clock(said.to_s)} of ${said.run}, ${Format.age(said.step_s)} per point; shaded: lowest to highest`;
    document.body.dataset.past = said.run;
    plot();
  } catch { $("past-note").textContent = "The controller does not answer."; }
}
async function runs() {
  try {
    const list = await (await fetch("/api/v1/runs")).json(), box = $("past-run"), kept = box.value;
    const former = list.filter((r) => !r.current).map((r) => make("option", { value: r.id, "data-seconds": r.seconds }, `${(r.started_utc || r.id).slice(0, 19).replace("T", " ")} · ${r.title || r.id}`));
    box.replaceChildren(make("option", { value: "" }, "this run"), ...former);
    if ([...box.options].some((o) => o.value === kept)) box.value = kept;
  } catch { /* the stream says that there is no connection */ }
}
$("past-run").addEventListener("focus", runs);
$("past-run").addEventListener("change", () => { if ($("past-run").value && $("past-span").value === "600") $("past-span").value = "all"; zoom = stretch = null; look(); recount(); });
$("past-span").addEventListener("change", () => { zoom = null; look(); });

// The window that was chosen on a chart, within the run. What is there is shown at once, and finer as soon as the
// database has answered.
Curves.choose = (from, to) => {
  const end = Math.max(seconds(), NARROWEST_S), width = Math.min(Math.max(to - from, NARROWEST_S), end);
  const begin = Math.min(Math.max(0, (from + to - width) / 2), end - width);
  zoom = { from: begin, to: begin + width };
  plot();
  clearTimeout(settling);
  settling = setTimeout(look, SETTLES_MS);
};
Curves.back = () => { zoom = null; clearTimeout(settling); look(); };
for (const [id, act] of [["past-in", (c) => c.zoom(0.5)], ["past-out", (c) => c.zoom(2)], ["past-earlier", (c) => Curves.choose(c.view.start - c.view.span / 2, c.view.end - c.view.span / 2)],
  ["past-later", (c) => Curves.choose(c.view.start + c.view.span / 2, c.view.end + c.view.span / 2)], ["past-back", () => Curves.back()]])
  $(id).addEventListener("click", () => { if (charts.p.view) act(charts.p); });

// The events of the run that is looked at.
async function recount() {
  const run = $("past-run").value;
  $("events").replaceChildren();
  lastEvent = 0;
  try { addEvents(await (await fetch(run ? `/api/v1/events?run=${encodeURIComponent(run)}` : "/api/v1/events")).json()); } catch { /* said elsewhere */ }
}

// A device keeps its colour in all charts; from the ninth on, lines are dashed. The bus itself is drawn over the devices on it.
const known = (list) => list.some(Format.known);
function curves(named, key, bus) {
  const lines = named.filter(({ of }) => known(of[key].values)).map(({ name, of, color, dashed }) => ({ name, color, dashed, thin: bus != null, ...of[key] }));
  return bus ? [...lines, { name: "bus", color: bus.color, ...bus }] : lines;
}
function plotStretch() {
  const window = zoom ? { ...zoom, step: stretch.step_s } : { from: stretch.from_s, to: stretch.to_s, step: stretch.step_s };
  const of = (d) => ({ p: { values: d.p_w, low: d.p_low_w, high: d.p_high_w }, q: { values: d.q_var }, f: { values: d.f_hz }, v: { values: d.v_v } });
  // The database has them in the order in which they began to say something.
  const order = [...past.devices.keys()], place = (d, i) => (order.includes(d.name) ? order.indexOf(d.name) : i);
  const named = stretch.devices.filter((d) => Object.values(TRACES).some((key) => known(d[key]))).map((d, i) => ({ name: d.name, of: of(d), place: place(d, i) }))
    .sort((a, b) => a.place - b.place).map((d) => ({ ...d, color: color(d.place), dashed: d.place >= COLORS }));
  charts.p.set(stretch.t_s, curves(named, "p"), window);
  charts.q.set(stretch.t_s, curves(named, "q"), window);
  charts.f.set(stretch.t_s, curves(named, "f", { color: "--text", values: stretch.f_hz, low: stretch.f_low_hz, high: stretch.f_high_hz }), window);
  charts.v.set(stretch.t_s, curves(named, "v", { color: "--text", values: stretch.v_v, low: stretch.v_low_v, high: stretch.v_high_v }), window);
}
function plot() {
  if (stretch) { plotStretch(); return; }
  const times = past.t;
  const of = (d) => ({ p: { values: past.of(d.p) }, q: { values: past.of(d.q) }, f: { values: past.of(d.f) }, v: { values: past.of(d.v) } });
  const named = [...past.devices].map(([name, d], i) => ({ name, of: of(d), color: color(i), dashed: i >= COLORS })).filter(({ of }) => Object.values(of).some(({ values }) => known(values)));
  const subject = (name) => named.find((d) => d.name === name);
  const bands = (quantity, fallback) => (scenario ? scenario.bands : []).filter((b) => b.quantity === quantity && (fallback || subject(b.subject)))
    .map((b) => ({ from: b.from_s, to: b.until_s, low: b.low, high: b.high, color: (subject(b.subject) || { color: fallback }).color }));
  charts.p.set(times, curves(named, "p"), zoom, bands("p"));
  charts.q.set(times, curves(named, "q"), zoom, bands("q"));
  charts.f.set(times, curves(named, "f", { color: "--text", values: past.of(past.bus.f) }), zoom, bands("f", "--text"));
  charts.v.set(times, curves(named, "v", { color: "--text", values: past.of(past.bus.v) }), zoom, bands("v", "--text"));
}
