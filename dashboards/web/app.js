// The live page: reads the state stream, draws, and sends the few commands there are.
"use strict";
const SERVICES_EVERY_MS = 1000;

let started = null, lastSeen = { n: -1, at: 0 }, drawn = 0;
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

// The list of devices: a row stays as long as its device, and only what has changed is written, so that a list of
// hundreds can be scrolled, selected and read while it lives.
const measured = (known, show) => {
  if (known.quality === "unread" || known.quality === "absent") return { text: known.quality === "absent" ? "" : "–", class: "r old", title: known.why };
  return { text: show(known.value), class: known.quality === "stale" ? "r old" : "r", title: known.why ? `${known.why}, ${Format.age(known.age_s)}` : null };
};
const position = (d) => (d.switch_on.value == null ? "" : d.role === "breaker" ? (d.switch_on.value ? "closed" : "open") : d.switch_on.value ? "on" : "off");
const COLUMNS = [
  (d) => ({ text: d.role }), (d) => ({ text: d.link }),
  (d) => measured(d.p_w, (v) => Format.power(v, "W")), (d) => measured(d.q_var, (v) => Format.power(v, "var")), (d) => measured(d.v_v, (v) => `${Format.fixed(v, 1)} V`),
  (d) => measured(d.f_hz, (v) => `${Format.fixed(v, 3)} Hz`), (d) => measured(d.soc, Format.percent), (d) => ({ text: position(d) }),
  (d) => ({ text: Format.age(d.age_s), class: "r" }), (d) => ({ text: d.quality + (d.why ? `: ${d.why}` : ""), class: "dot" }),
  (d) => ({ text: d.profile, class: "dim" }), (d) => ({ text: d.bus, class: "dim" }),
];
const listed = new Map();
function rowOf(d) {
  if (!listed.has(d.name)) {
    const cells = COLUMNS.map(() => ({ node: make("td"), said: "" })), row = make("tr", {}, make("th", { scope: "row" }, d.name), ...cells.map((c) => c.node));
    $("devices").append(row);
    listed.set(d.name, { row, cells });
  }
  return listed.get(d.name);
}
function devices(state) {
  const wanted = $("devices-filter").value.trim().toLowerCase();
  let shown = 0;
  for (const d of state.devices) {
    const { row, cells } = rowOf(d), fits = !wanted || [d.name, d.role, d.bus, d.profile, d.quality].some((text) => text.toLowerCase().includes(wanted));
    if (row.hidden === fits) row.hidden = !fits;
    if (!fits) continue;
    shown += 1;
    if (row.dataset.q !== d.quality) row.dataset.q = d.quality;
    cells.forEach((cell, i) => {
      const told = COLUMNS[i](d), said = `${told.class}\n${told.title}\n${told.text}`;
      if (cell.said === said) return;
      cell.said = said;
      cell.node.textContent = told.text;
      if (cell.node.className !== (told.class || "")) cell.node.className = told.class || "";
      if (told.title) cell.node.title = told.title; else cell.node.removeAttribute("title");
    });
  }
  const count = wanted ? `${shown} of ${state.devices.length}` : "";
  if ($("devices-count").textContent !== count) $("devices-count").textContent = count;
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
      make("span", { class: "pill" }, a.severity), make("strong", { class: "grow" }, `${a.name}: ${a.why}`), make("span", { class: "t" }, `since ${Format.clock(a.since_s)}`), seen));
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
    ["telemetry", `${Format.count(k.telemetry_written)} written`], ["telemetry waiting", Format.count(k.telemetry_waiting)], ["telemetry lost", Format.count(k.telemetry_lost), k.telemetry_lost > 0],
    ...(k.database_lost > 0 ? [["missing in samples.db", `${Format.count(k.database_lost)} rows`, true]] : [])]);
  $("buses").replaceChildren(...state.buses.map((b) => {
    const fill = make("i"), meter = make("span", { class: "meter", "data-full": b.busy_percent >= 80, role: "img", "aria-label": `${b.busy_percent.toFixed(0)} percent busy` }, fill);
    fill.style.width = `${Math.min(100, b.busy_percent)}%`;
    return make("tr", {}, make("td", {}, b.name), make("td", {}, meter, `${b.busy_percent.toFixed(0)} %`), make("td", { class: "r" }, Format.count(b.answers)),
      make("td", { class: "r" }, Format.count(b.timeouts)), make("td", { class: "r", title: `corrupt ${b.corrupt}, exceptions ${b.exceptions}, expired ${b.expired}, reconnects ${b.reconnects}, bus-offs ${b.bus_offs}, bus errors ${b.bus_errors}` }, Format.count(b.corrupt + b.exceptions + b.expired + b.reconnects + b.bus_offs + b.bus_errors)));
  }));
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
    const when = s.due_s == null ? s.at : standing === "ahead" ? (s.due_s > now ? `in ${Format.age(s.due_s - now)}` : "next") : Format.clock(s.due_s);
    return make("li", { "data-step": standing, "aria-current": standing === "now" ? "step" : null }, make("div", { class: "row" }, make("span", { class: "t" }, when), make("span", { class: "grow" }, s.text || "a mark"), s.mark ? make("span", { class: "pill" }, s.mark) : ""));
  };
  $("scenario-steps").replaceChildren(...steps.map(stepOf));
  const bound = (v, unit) => `${Format.fixed(v, Math.abs(v) < 100 ? 3 : 1)} ${unit}`;
  const bandOf = (b) => {
    const what = b.low != null && b.high != null ? (b.low === b.high ? bound(b.low, b.unit) : `${bound(b.low, b.unit)} to ${bound(b.high, b.unit)}`) : b.low != null ? `at least ${bound(b.low, b.unit)}` : `at most ${bound(b.high, b.unit)}`;
    const when = b.from_s == null ? "once it has begun" : `${Format.clock(b.from_s)} to ${b.until_s == null ? "the end" : Format.clock(b.until_s)}`;
    const standing = b.from_s == null || b.from_s > now ? "ahead" : b.until_s != null && b.until_s < now ? "done" : "now";
    return make("li", { "data-step": standing }, make("div", { class: "row" }, make("span", { class: "t" }, when), make("span", { class: "grow" }, `${b.subject}.${b.quantity}: ${what}`)), make("div", { class: "why" }, b.name));
  };
  $("scenario-bands").replaceChildren(...scenario.bands.map(bandOf));
}

// What grows with the bench is drawn as often as there is time for it.
let latest = null;
const diagram = paced(() => Diagram.draw($("diagram"), latest)), list = paced(() => devices(latest));
$("devices-filter").addEventListener("input", () => { if (latest) list(); });

function show(state) {
  // Another run answers at this address: forget the past of the former.
  if (started && started !== state.rig.started_utc) { location.reload(); return; }
  started = state.rig.started_utc;
  const n = state.cycle ? state.cycle.n : 0;
  if (n !== lastSeen.n) lastSeen = { n, at: Date.now() };
  header(state); tiles(state); remember(state);
  latest = state;
  diagram(); dispatches(state); side(state); list(); scene(state); plot();
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
// The library of the charts is not worth a later first picture.
addEventListener("load", () => requestAnimationFrame(() => setTimeout(Curves.load)));
