// The live page: reads the state stream, draws, and sends the few commands there are.
"use strict";
const Format = {
  fixed: (v, digits) => (v == null ? "–" : (Math.abs(v) < 0.5 * 10 ** -digits ? 0 : v).toFixed(digits).replace("-", "−")),
  power: (v, unit) => (v == null ? `– ${unit}` : Math.abs(v) >= 9999.5 ? `${Format.fixed(v / 1000, 1)} k${unit}` : `${Format.fixed(v, 0)} ${unit}`),
  percent: (v) => (v == null ? "–" : `${(v * 100).toFixed(0)} %`),
  age: (s) => (s == null ? "–" : s < 0.9995 ? `${(s * 1000).toFixed(0)} ms` : s < 120 ? `${s.toFixed(1)} s` : `${(s / 60).toFixed(0)} min`),
  clip: (text, length) => (text.length > length ? text.slice(0, length - 1) + "…" : text),
  words: (name) => name.replaceAll("_", " "),
  count: (n) => n.toLocaleString("en").replaceAll(",", "\u202f"),
};
const $ = (id) => document.getElementById(id);

// An element with text; text never becomes markup.
function make(name, attributes, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(attributes || {})) if (value != null) node.setAttribute(key, value);
  node.append(...children.map((c) => (c instanceof Node ? c : String(c ?? ""))));
  return node;
}
// Fills a box anew, unless it would be the same; what had the focus has it again.
const signatures = new WeakMap();
function refill(box, nodes, signature) {
  if (signature !== undefined) { if (signatures.get(box) === signature) return; signatures.set(box, signature); }
  const key = box.contains(document.activeElement) ? document.activeElement.dataset.key : null;
  box.replaceChildren(...nodes);
  const again = key && [...box.querySelectorAll("[data-key]")].find((node) => node.dataset.key === key);
  if (again) again.focus({ preventScroll: true });
}
const timeOf = (utc) => utc.slice(11, 23);
const COLORS = 8, color = (i) => `--c${i % COLORS}`;
const KEPT_S = 600;
const SERVICES_EVERY_MS = 1000;

const past = { t: [], f: [], v: [], devices: new Map() };
let started = null, lastSeen = { n: -1, at: 0 }, drawn = 0;
const charts = {
  p: new Chart($("chart-p"), $("keys-p"), "W", 0, 100, null),
  q: new Chart($("chart-q"), $("keys-q"), "var", 0, 100, null),
  f: new Chart($("chart-f"), $("keys-f"), "Hz", 3, 0.1, null),
  v: new Chart($("chart-v"), $("keys-v"), "V", 1, 4, null),
};

function notice(text, kind) {
  const n = $("notice");
  n.hidden = !text;
  if (n.textContent !== text) n.textContent = text;
  n.dataset.kind = kind || "fault";
}
let notedUntil = 0;
function note(text, kind) { notedUntil = Date.now() + 6000; notice(text, kind); }

function tiles(state) {
  const e = state.estimate || {};
  const rows = [
    ["frequency", Format.fixed(e.f_hz, 3), "Hz", e.f_hz], ["voltage", Format.fixed(e.v_v, 1), "V", e.v_v],
    ["PCC, + import", Format.fixed(e.pcc_w, 0), "W", e.pcc_w], ["photovoltaics", Format.fixed(e.pv_w, 0), "W", e.pv_w],
    ["storage, + discharge", Format.fixed(e.storage_w, 0), "W", e.storage_w], ["load", Format.fixed(e.load_w, 0), "W", e.load_w],
    ["state of charge", e.soc == null ? "–" : (e.soc * 100).toFixed(1), "%", e.soc], ["ROCOF", Format.fixed(e.rocof_hz_per_s, 2), "Hz/s", e.rocof_hz_per_s],
  ];
  $("tiles").replaceChildren(...rows.map(([name, value, unit, known]) =>
    make("div", { class: "tile", "data-known": known != null }, make("span", {}, name), make("span", { class: "value" }, value, make("small", {}, unit)))));
}

function header(state) {
  const c = state.cycle;
  $("title").textContent = state.rig.title;
  document.title = `${c ? Format.words(c.mode) : "…"} – ${state.rig.title}`;
  $("subtitle").textContent = `${state.rig.site} · since ${state.rig.started_utc.slice(0, 19).replace("T", " ")}${state.rig.virtual_time ? " · simulated time" : ""}`;
  $("rig-path").textContent = state.rig.rig_path;
  $("version").textContent = `gridrig ${state.rig.version}`;
  if (!c) return;
  $("lamp").dataset.mode = c.mode;
  if ($("mode").textContent !== Format.words(c.mode)) $("mode").textContent = Format.words(c.mode);
  $("mode-for").textContent = `for ${Format.age(c.mode_for_s)}`;
  $("armed").dataset.armed = c.armed;
  const armed = c.armed ? "ARMED" : "read-only";
  if ($("armed").textContent !== armed) $("armed").textContent = armed;
  $("utc").textContent = `${timeOf(c.utc).slice(0, 10)} UTC`;
  $("cycle").textContent = `cycle ${Format.count(c.n)}`;
}

function cell(known, show) {
  if (known.quality === "unread" || known.quality === "absent") return make("td", { class: "r old", title: known.why }, known.quality === "absent" ? "" : "–");
  return make("td", { class: known.quality === "stale" ? "r old" : "r", title: known.why ? `${known.why}, ${Format.age(known.age_s)}` : null }, show(known.value));
}
function devices(state) {
  $("devices").replaceChildren(...state.devices.map((d) => make("tr", { "data-q": d.quality },
    make("th", { scope: "row" }, d.name), make("td", {}, d.role), make("td", {}, d.link),
    cell(d.p_w, (v) => Format.power(v, "W")), cell(d.q_var, (v) => Format.power(v, "var")), cell(d.v_v, (v) => `${Format.fixed(v, 1)} V`),
    cell(d.f_hz, (v) => `${Format.fixed(v, 3)} Hz`), cell(d.soc, Format.percent),
    make("td", {}, d.switch_on.value == null ? "" : d.role === "breaker" ? (d.switch_on.value ? "closed" : "open") : d.switch_on.value ? "on" : "off"),
    make("td", { class: "r" }, Format.age(d.age_s)), make("td", { class: "dot" }, d.quality + (d.why ? `: ${d.why}` : "")),
    make("td", { class: "dim" }, d.profile), make("td", { class: "dim" }, d.bus))));
}

// Services are sold by few rigs: the card is there once there are some.
function reserve(could, sold) {
  return make("td", { class: could < 0.95 * sold ? "r short" : "r" }, sold > 0 ? `${Format.power(could, "W")} of ${Format.power(sold, "W")}` : "not sold");
}
function services(list) {
  $("services-card").hidden = !list.length;
  $("services").replaceChildren(...list.map((s) => make("tr", { "data-q": s.available ? "good" : "stale" },
    make("th", { scope: "row" }, s.name), make("td", { class: "dim" }, s.service),
    make("td", {}, make("span", { class: "pill", "data-phase": s.phase }, Format.words(s.phase))),
    make("td", { class: "r" }, Format.power(s.asked_w, "W")),
    make("td", { class: s.delivered_w == null ? "r old" : "r" }, Format.power(s.delivered_w, "W")),
    make("td", { class: s.baseline_w == null ? "r old" : "r" }, Format.power(s.baseline_w, "W")),
    reserve(s.up_w, s.sold_up_w), reserve(s.down_w, s.sold_down_w),
    make("td", { class: "dot" }, s.available ? "available" : "not available"),
    make("td", { class: "r" }, `${(s.availability * 100).toFixed(1)} %`))));
}
async function serve() {
  try {
    const answer = await fetch("/api/v1/services");
    if (answer.ok) services(await answer.json());
    const told = await fetch("/api/v1/alarms");
    if (told.ok) alarms(await told.json());
    await Market.ask();
  } catch { /* the stream says that there is no connection */ }
}

// Alarms that are raised: the card is there while there are some.
function alarms(list) {
  const raised = list.filter((a) => a.raised);
  $("alarms-card").hidden = !raised.length;
  refill($("alarms"), raised.map((a) => {
    const seen = a.acknowledged_by ? make("span", { class: "dim" }, `seen by ${a.acknowledged_by}`) : make("button", { type: "button", "data-key": a.name, "aria-label": `Say that ${a.name} was seen` }, "Seen");
    if (!a.acknowledged_by) seen.addEventListener("click", () => { operate("acknowledge", { alarm: a.name }); $("operate").open = true; });
    return make("li", { "data-level": a.severity, "data-seen": a.acknowledged_by != null }, make("div", { class: "row" },
      make("span", { class: "pill" }, a.severity), make("strong", { class: "grow" }, `${a.name}: ${a.why}`), make("span", { class: "t" }, `since ${Chart.clock(a.since_s)}`), seen));
  }), JSON.stringify(raised));
}

const STAGES = { sent: "sent", written: "written", register: "read back", power: "power seen", missed: "missed" };
function dispatches(state) {
  const rows = state.dispatches.map((d) => {
    const li = make("li", {}, make("div", { class: "row" }, make("span", { class: "t" }, timeOf(d.utc).slice(0, 10)),
      make("strong", { class: "grow" }, `${d.device} → ${d.setpoint_text}`),
      make("span", { class: "pill", "data-stage": d.stage }, STAGES[d.stage] + (d.after_s != null && d.stage !== "missed" ? ` ${Format.age(d.after_s)}` : ""))));
    const record = make("button", { type: "button", class: "link", "data-key": d.atom, title: d.atom }, `ledger ${d.ledger_clock}`);
    record.addEventListener("click", () => Explorer.open(d.atom));
    li.append(make("div", { class: "why" }, `${Format.words(d.function)}: ${d.why} · `, record));
    if (d.clamped.length) li.append(make("div", { class: "clamp" }, `clamped: ${d.clamped.join("; ")}`));
    if (d.missed) li.append(make("div", { class: "clamp" }, `missed: ${d.missed}`));
    return li;
  });
  refill($("dispatches"), rows.length ? rows : [make("li", { class: "dim" }, "Nothing has been dispatched yet.")], JSON.stringify(state.dispatches));
}

function pairs(id, rows) {
  $(id).replaceChildren(...rows.flatMap(([name, value, bad]) => [make("dt", {}, name), make("dd", { class: bad ? "bad" : null }, value)]));
}
function side(state) {
  const l = state.ledger, k = state.counters, c = state.cycle;
  const root = l && make("code", { title: l.root }, l.root.length > 20 ? `${l.root.slice(0, 10)}…${l.root.slice(-8)}` : l.root);
  pairs("ledger", l ? [["clock", Format.count(l.clock)], ["entries", Format.count(l.entries)], ["root", root], ["dispatches logged", `${Format.count(k.dispatches_logged)} of ${Format.count(k.dispatches)}`, k.dispatches_logged < k.dispatches],
    ...(l.federation ? [["not final yet", Format.count(l.federation.not_final), l.federation.not_final > 0], ["nodes", l.federation.nodes.map((n) => `${n.name} ${n.connected ? Format.count(n.entries) : "away"}`).join(", "), l.federation.nodes.some((n) => !n.connected)]] : []),
    ...(l.federation && l.federation.accused.length ? [["contradicted itself", l.federation.accused.join(", "), true]] : [])] : [["", "no entry yet"]]);
  pairs("loop", [["cycles", Format.count(k.cycles)], ["late", Format.count(k.cycles_late), k.cycles_late > 0],
    ["latest", c ? `${c.took_ms.toFixed(2)} ms, ${c.late_ms.toFixed(2)} ms late` : "–"], ["samples", Format.count(k.samples)],
    ["telemetry", `${Format.count(k.telemetry_written)} written`], ["telemetry lost", Format.count(k.telemetry_lost), k.telemetry_lost > 0]]);
  $("buses").replaceChildren(...state.buses.map((b) => {
    const fill = make("i"), meter = make("span", { class: "meter", "data-full": b.busy_percent >= 80, role: "img", "aria-label": `${b.busy_percent.toFixed(0)} percent busy` }, fill);
    fill.style.width = `${Math.min(100, b.busy_percent)}%`;
    return make("tr", {}, make("td", {}, b.name), make("td", {}, meter, `${b.busy_percent.toFixed(0)} %`), make("td", { class: "r" }, Format.count(b.answers)),
      make("td", { class: "r" }, Format.count(b.timeouts)), make("td", { class: "r", title: `corrupt ${b.corrupt}, exceptions ${b.exceptions}, expired ${b.expired}, reconnects ${b.reconnects}, bus-offs ${b.bus_offs}, bus errors ${b.bus_errors}` }, Format.count(b.corrupt + b.exceptions + b.expired + b.reconnects + b.bus_offs + b.bus_errors)));
  }));
}

// The past: filled once from /history, then from the stream.
function remember(state) {
  const c = state.cycle;
  if (!c || (past.t.length && c.t_s - past.t[past.t.length - 1] < 0.3)) return;
  const usable = (known) => (known.quality === "good" || known.quality === "held" ? known.value : null);
  past.t.push(c.t_s); past.f.push(state.estimate.f_hz); past.v.push(state.estimate.v_v);
  for (const d of state.devices) {
    const trace = trail(d.name);
    trace.p.push(usable(d.p_w)); trace.q.push(usable(d.q_var));
  }
  const old = past.t.findIndex((t) => t >= c.t_s - KEPT_S);
  if (old > 0) for (const list of [past.t, past.f, past.v, ...[...past.devices.values()].flatMap((d) => [d.p, d.q])]) list.splice(0, old);
}
function trail(name) {
  if (!past.devices.has(name)) past.devices.set(name, { p: Array(past.t.length).fill(null).slice(0, Math.max(0, past.t.length - 1)), q: Array(Math.max(0, past.t.length - 1)).fill(null) });
  return past.devices.get(name);
}
async function recall() {
  const h = await (await fetch("/api/v1/history")).json();
  past.t = h.t_s; past.f = h.f_hz; past.v = h.v_v; past.devices = new Map();
  for (const d of h.devices) past.devices.set(d.name, { p: d.p_w, q: d.q_var });
}
// Another window than the last ten minutes comes out of the database of a run.
const PAST_EVERY_MS = 5000;
let stretch = null, asking = 0;
function chosen() {
  const run = $("past-run").value, span = $("past-span").value;
  return run === "" && span === "600" ? null : { run, span };
}
function seconds() {
  const picked = [...$("past-run").options].find((o) => o.selected);
  return picked && picked.dataset.seconds ? Number(picked.dataset.seconds) : past.t.length ? past.t[past.t.length - 1] : 0;
}
async function look() {
  const choice = chosen(), mine = ++asking;
  if (!choice) { stretch = null; $("past-note").textContent = ""; plot(); return; }
  const query = new URLSearchParams({ points: "600" });
  if (choice.run) query.set("run", choice.run);
  if (choice.span !== "all") query.set("from_s", String(Math.max(0, seconds() - Number(choice.span))));
  try {
    const answer = await fetch(`/api/v1/history?${query}`);
    const said = await answer.json();
    if (mine !== asking) return;
    if (!answer.ok) { $("past-note").textContent = `${said.message}; ${said.help}.`; return; }
    stretch = said;
    $("past-note").textContent = `${Chart.clock(said.from_s)} to ${Chart.clock(said.to_s)} of ${said.run}, ${Format.age(said.step_s)} per point; shaded: lowest to highest`;
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
$("past-run").addEventListener("change", () => { if ($("past-run").value && $("past-span").value === "600") $("past-span").value = "all"; look(); recount(); });
$("past-span").addEventListener("change", look);
// The events of the run that is looked at.
async function recount() {
  const run = $("past-run").value;
  $("events").replaceChildren();
  lastEvent = 0;
  try { addEvents(await (await fetch(run ? `/api/v1/events?run=${encodeURIComponent(run)}` : "/api/v1/events")).json()); } catch { /* said elsewhere */ }
}
function plotStretch() {
  const known = (list) => list.some((v) => v != null), window = { from: stretch.from_s, to: stretch.to_s, step: stretch.step_s };
  const named = stretch.devices.filter((d) => known(d.p_w) || known(d.q_var)).map((d, i) => ({ d, color: color(i), dashed: i >= COLORS }));
  charts.p.set(stretch.t_s, named.filter(({ d }) => known(d.p_w)).map(({ d, color, dashed }) => ({ name: d.name, color, dashed, values: d.p_w, low: d.p_low_w, high: d.p_high_w })), window);
  charts.q.set(stretch.t_s, named.filter(({ d }) => known(d.q_var)).map(({ d, color, dashed }) => ({ name: d.name, color, dashed, values: d.q_var })), window);
  charts.f.set(stretch.t_s, [{ name: "bus", color: "--c0", values: stretch.f_hz, low: stretch.f_low_hz, high: stretch.f_high_hz }], window);
  charts.v.set(stretch.t_s, [{ name: "bus", color: "--c1", values: stretch.v_v, low: stretch.v_low_v, high: stretch.v_high_v }], window);
}
function plot() {
  if (stretch) { plotStretch(); return; }
  // A device keeps its colour in both charts; from the ninth on, lines are dashed.
  const known = (list) => list.some((v) => v != null);
  const named = [...past.devices].filter(([, d]) => known(d.p) || known(d.q)).map(([name, d], i) => ({ name, d, color: color(i), dashed: i >= COLORS }));
  const lines = (key) => named.filter(({ d }) => known(d[key])).map(({ name, d, color, dashed }) => ({ name, color, dashed, values: d[key] }));
  const of = (subject) => named.find((d) => d.name === subject);
  const bands = (quantity, fallback) => (scenario ? scenario.bands : []).filter((b) => b.quantity === quantity && (fallback || of(b.subject)))
    .map((b) => ({ from: b.from_s, to: b.until_s, low: b.low, high: b.high, color: fallback || of(b.subject).color }));
  charts.p.set(past.t, lines("p"), null, bands("p"));
  charts.q.set(past.t, lines("q"), null, bands("q"));
  charts.f.set(past.t, [{ name: "bus", color: "--c0", values: past.f }], null, bands("f", "--c0"));
  charts.v.set(past.t, [{ name: "bus", color: "--c1", values: past.v }], null, bands("v", "--c1"));
}

// The scenario under way, where one is played: its steps, and what is demanded before it can be measured.
let scenario = null;
function scene(state) {
  scenario = state.scenario;
  $("scenario-card").hidden = !scenario;
  if (!scenario) return;
  const now = state.cycle ? state.cycle.t_s : 0, step = scenario.step, steps = scenario.steps;
  $("scenario-name").textContent = `${scenario.name} · ${scenario.file}`;
  const said = step == null || scenario.phase !== "steps" ? scenario.phase : `step ${step + 1} of ${steps.length}: ${steps[step].text || "a mark"}`;
  if ($("scenario-now").textContent !== said) $("scenario-now").textContent = said;
  const stepOf = (s, i) => {
    const standing = step == null || i > step ? "ahead" : i < step || scenario.phase !== "steps" ? "done" : "now";
    const when = s.due_s == null ? s.at : standing === "ahead" ? (s.due_s > now ? `in ${Format.age(s.due_s - now)}` : "next") : Chart.clock(s.due_s);
    return make("li", { "data-step": standing, "aria-current": standing === "now" ? "step" : null }, make("div", { class: "row" }, make("span", { class: "t" }, when), make("span", { class: "grow" }, s.text || "a mark"), s.mark ? make("span", { class: "pill" }, s.mark) : ""));
  };
  $("scenario-steps").replaceChildren(...steps.map(stepOf));
  const bound = (v, unit) => `${Format.fixed(v, Math.abs(v) < 100 ? 3 : 1)} ${unit}`;
  const bandOf = (b) => {
    const what = b.low != null && b.high != null ? (b.low === b.high ? bound(b.low, b.unit) : `${bound(b.low, b.unit)} to ${bound(b.high, b.unit)}`) : b.low != null ? `at least ${bound(b.low, b.unit)}` : `at most ${bound(b.high, b.unit)}`;
    const when = b.from_s == null ? "once it has begun" : `${Chart.clock(b.from_s)} to ${b.until_s == null ? "the end" : Chart.clock(b.until_s)}`;
    const standing = b.from_s == null || b.from_s > now ? "ahead" : b.until_s != null && b.until_s < now ? "done" : "now";
    return make("li", { "data-step": standing }, make("div", { class: "row" }, make("span", { class: "t" }, when), make("span", { class: "grow" }, `${b.subject}.${b.quantity}: ${what}`)), make("div", { class: "why" }, b.name));
  };
  $("scenario-bands").replaceChildren(...scenario.bands.map(bandOf));
}

function show(state) {
  // Another run answers at this address: forget the past of the former.
  if (started && started !== state.rig.started_utc) { location.reload(); return; }
  started = state.rig.started_utc;
  const n = state.cycle ? state.cycle.n : 0;
  if (n !== lastSeen.n) lastSeen = { n, at: Date.now() };
  header(state); tiles(state); remember(state);
  Diagram.draw($("diagram"), state);
  dispatches(state); side(state); devices(state); scene(state); plot();
  const select = $("hold-device"), names = state.devices.map((d) => d.name);
  if (select.options.length !== names.length) select.replaceChildren(...names.map((name) => make("option", {}, name)));
  drawn += 1;
  document.body.dataset.drawn = drawn;
}

const EVENTS_SHOWN = 200;
function eventRow(e) {
  return make("li", { "data-level": e.level }, make("div", { class: "row" }, make("span", { class: "t" }, timeOf(e.utc).slice(0, 12)),
    make("span", { class: "grow" }, e.device ? `${e.device}: ${e.text}` : e.text), make("span", { class: "pill" }, Format.words(e.event))));
}
let lastEvent = 0;
function addEvents(list) {
  const box = $("events");
  for (const e of list) if (e.seq > lastEvent) { lastEvent = e.seq; box.prepend(eventRow(e)); }
  while (box.children.length > EVENTS_SHOWN) box.lastChild.remove();
}

async function who() {
  try {
    const told = await (await fetch("/api/v1/access")).json();
    $("signed-in").hidden = !told.signed_in;
    $("signed-in-as").textContent = told.name ? `${told.name} (${told.role})` : told.role;
  } catch { /* the stream says that there is no connection */ }
}

async function follow() {
  who();
  try {
    await recall();
    addEvents(await (await fetch("/api/v1/events")).json());
    const answer = await fetch("/api/v1/state");
    // Beyond the bench's own machine nobody sees it without signing in, and that ends some day.
    if (answer.status === 401) { location.replace("/login"); return; }
    show(await answer.json());
  } catch { /* the stream's own retry says so */ }
  // As often as the address of the page says, `?hz=10` at most: twice a second without that.
  const hz = new URLSearchParams(location.search).get("hz");
  const stream = new EventSource(hz ? `/api/v1/stream?hz=${encodeURIComponent(hz)}` : "/api/v1/stream");
  let open = true;
  stream.addEventListener("state", (m) => { open = true; show(JSON.parse(m.data)); });
  stream.addEventListener("event", (m) => { if (!$("past-run").value) addEvents([JSON.parse(m.data)]); });
  stream.onerror = () => { open = false; };
  serve();
  runs();
  setInterval(serve, SERVICES_EVERY_MS);
  setInterval(() => { if (chosen() && !$("past-run").value) look(); }, PAST_EVERY_MS);
  setInterval(() => {
    if (Date.now() < notedUntil) return;
    const silent = (Date.now() - lastSeen.at) / 1000;
    if (!open) notice("No connection to the controller: what is shown is old.");
    else if (lastSeen.n >= 0 && silent > 2.5) notice(`The control loop has not turned for ${silent.toFixed(0)} s: what is shown is old.`);
    else notice("");
  }, 500);
}

// Commands.
async function command(path, body, token) {
  const headers = { "content-type": "application/json" };
  if (token) headers.authorization = `Bearer ${token}`;
  try {
    const answer = await fetch(`/api/v1/${path}`, { method: "POST", headers, body: body ? JSON.stringify(body) : undefined });
    const said = await answer.json();
    return answer.ok ? [true, "Accepted: it enters the next cycle."] : [false, `${said.message}; ${said.help}.`];
  } catch { return [false, "The controller does not answer."]; }
}
async function operate(path, body) {
  const [done, text] = await command(path, body, $("token").value);
  $("operate-answer").textContent = `${done ? "✓" : "✗"} ${path}: ${text}`;
}
$("safe").addEventListener("click", async () => {
  const [done, text] = await command("safe");
  note(done ? "SAFE was accepted: every device is being told to go to its safe state." : `SAFE failed: ${text} Use the bench's own emergency stop.`, done ? "done" : "fault");
});
for (const b of document.querySelectorAll("[data-post]")) b.addEventListener("click", () => operate(b.dataset.post));
for (const b of document.querySelectorAll("button[data-mode]")) b.addEventListener("click", () => operate("mode", { mode: b.dataset.mode }));
$("hold").addEventListener("click", () => {
  const kind = $("hold-kind").value, value = Number($("hold-value").value);
  operate("hold", { device: $("hold-device").value, setpoint: kind === "on" || kind === "off" ? { on: kind === "on" } : { [kind]: value } });
});
$("release").addEventListener("click", () => operate("release", { device: $("hold-device").value }));
$("form").addEventListener("submit", (e) => e.preventDefault());

// Dark or light: the reader's choice, else the system's; ?theme=light pins it for a wall.
function theme(name) { document.documentElement.dataset.theme = name; plot(); }
const store = { get() { try { return localStorage.getItem("theme"); } catch { return null; } }, set(v) { try { localStorage.setItem("theme", v); } catch { /* private window */ } } };
theme(new URLSearchParams(location.search).get("theme") || store.get() || (matchMedia("(prefers-color-scheme: light)").matches ? "light" : "dark"));
$("theme").addEventListener("click", () => { const next = document.documentElement.dataset.theme === "light" ? "dark" : "light"; theme(next); store.set(next); });
addEventListener("resize", plot);
addEventListener("DOMContentLoaded", follow);
