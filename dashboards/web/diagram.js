// The single-line diagram: utility, breaker, bus, and what hangs on it. All text enters as text nodes.
"use strict";
const Diagram = (() => {
  const NS = "http://www.w3.org/2000/svg";
  const CARD = { w: 148, h: 104, gap: 14 };
  const MANY = 40;
  // Sources and storage hang above the bus, what consumes or only informs below it.
  const ABOVE = ["pv", "genset", "ess", "battery"];

  function el(name, attributes = {}, ...children) {
    const node = document.createElementNS(NS, name);
    for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
    for (const child of children) node.append(child);
    return node;
  }
  const text = (x, y, content, cls = "", anchor = "start") =>
    el("text", { x, y, class: cls, "text-anchor": anchor }, String(content));

  const SYMBOLS = {
    pv: (g) => g.append(el("rect", { x: 0, y: 3, width: 22, height: 15, class: "symbol" }), el("path", { d: "M0 10.5H22M7.3 3V18M14.6 3V18", class: "symbol" })),
    ess: (g) => g.append(el("rect", { x: 0, y: 4, width: 20, height: 14, rx: 2, class: "symbol" }), el("path", { d: "M20 8.5h2.5v5h-2.5M5 11h4M13 11h4M15 9v4", class: "symbol" })),
    genset: (g) => g.append(el("circle", { cx: 11, cy: 11, r: 9, class: "symbol" }), el("path", { d: "M14.5 8a4.5 4.5 0 1 0 1 3.5h-4", class: "symbol" })),
    battery: (g) => g.append(el("path", { d: "M2 4V18M7 7V15M13 4V18M18 7V15M7 11h6M-2 11h4M18 11h4", class: "symbol" })),
    load: (g) => g.append(el("path", { d: "M2 8h14v4a6 6 0 0 1-14 0zM5 8V2M13 8V2M9 18v3", class: "symbol" })),
    source: (g) => g.append(el("circle", { cx: 11, cy: 11, r: 9, class: "symbol" }), el("path", { d: "M5 11c2 -6 4 -6 6 0s4 6 6 0", class: "symbol" })),
    meter: (g) => g.append(el("circle", { cx: 11, cy: 11, r: 9, class: "symbol" }), el("path", { d: "M11 11L16 6", class: "symbol" })),
  };

  const watts = (v) => Format.power(v, "W");

  function ageText(device) {
    if (device.quality === "good") return Format.age(device.age_s);
    const why = device.why || device.quality;
    return device.age_s == null ? why : `${Format.age(device.age_s)} · ${why}`;
  }

  // A wire between (x, y1) and (x, y2) with an arrow for the direction of power.
  function verticalFlow(x, yDevice, yBus, p) {
    const g = el("g");
    g.append(el("path", { d: `M${x} ${yDevice}V${yBus}`, class: "wire" }));
    if (p != null && Math.abs(p) >= 1) {
      const into = p > 0;
      const [from, to] = into ? [yDevice, yBus] : [yBus, yDevice];
      g.append(el("path", { d: `M${x} ${from}V${to}`, class: "flow" }));
      const middle = (yDevice + yBus) / 2, tip = to > from ? 7 : -7;
      g.append(el("path", { d: `M${x - 7} ${middle - tip}L${x + 7} ${middle - tip}L${x} ${middle + tip}Z`, class: "arrow" }));
    }
    return g;
  }
  function horizontalFlow(y, x1, x2, p) {
    const g = el("g");
    g.append(el("path", { d: `M${x1} ${y}H${x2}`, class: "wire" }));
    if (p != null && Math.abs(p) >= 1) {
      const [from, to] = p > 0 ? [x1, x2] : [x2, x1];
      g.append(el("path", { d: `M${from} ${y}H${to}`, class: "flow" }));
      const middle = (x1 + x2) / 2, tip = to > from ? 7 : -7;
      g.append(el("path", { d: `M${middle - tip} ${y - 7}L${middle - tip} ${y + 7}L${middle + tip} ${y}Z`, class: "arrow" }));
    }
    return g;
  }

  // What is too old to be used still shows, faded, but moves no arrow.
  const flowing = (known) => (known.quality === "good" || known.quality === "held" ? known.value : null);
  const shown = (known) => (known.quality === "unread" || known.quality === "absent" ? null : known.value);

  function card(device, x, y) {
    const g = el("g", { transform: `translate(${x} ${y})`, "data-q": device.quality });
    g.append(el("title", {}, `${device.name}: ${device.profile} on ${device.bus}, ${device.link}, ${ageText(device)}`));
    g.append(el("rect", { width: CARD.w, height: CARD.h, rx: 9, class: "box" }));
    const icon = el("g", { transform: "translate(10 8)" });
    (SYMBOLS[device.role] || SYMBOLS.meter)(icon);
    g.append(icon);
    g.append(text(40, 19, Format.clip(device.name, 14), "name"), text(40, 32, device.role, "role"));
    if (device.switch_on.quality !== "absent" && device.switch_on.value != null && ["load", "source"].includes(device.role))
      g.append(text(CARD.w - 10, 19, device.switch_on.value ? "on" : "off", "role", "end"));
    const dead = device.quality === "stale" || device.quality === "unread" ? " dead" : "";
    const soc = shown(device.soc);
    if (device.role === "battery") {
      g.append(text(10, 60, soc == null ? "–" : Format.percent(soc), "p" + dead));
      g.append(text(10, 78, shown(device.v_v) == null ? "" : `${Format.fixed(shown(device.v_v), 1)} V`, "unit" + dead));
    } else {
      g.append(text(10, 60, watts(shown(device.p_w)), "p" + dead));
      const parts = [];
      if (shown(device.q_var) != null) parts.push(Format.power(shown(device.q_var), "var"));
      if (shown(device.v_v) != null) parts.push(`${Format.fixed(shown(device.v_v), 1)} V`);
      g.append(text(10, 78, parts.join("\u2003"), "unit" + dead));
      const f = shown(device.f_hz);
      if (f != null) g.append(text(CARD.w - 10, 34, `${Format.fixed(f, 2)} Hz`, "unit" + dead, "end"));
    }
    if (soc != null) {
      const width = CARD.w - 20;
      g.append(el("rect", { x: 10, y: 83, width, height: 4, rx: 2, fill: "var(--line)" }));
      g.append(el("rect", { x: 10, y: 83, width: Math.max(0, Math.min(1, soc)) * width, height: 4, rx: 2, class: "fillq" + dead }));
    }
    g.append(text(10, 98, Format.clip(ageText(device), 25), "age"));
    return g;
  }

  function utility(state, y) {
    const g = el("g");
    const breaker = state.devices.find((d) => d.role === "breaker");
    const pcc = state.devices.find((d) => d.role === "pcc");
    const closed = breaker ? state.estimate && state.estimate.breaker_closed : true;
    const p = closed === false ? 0 : pcc ? flowing(pcc.p_w) : null;
    g.append(horizontalFlow(y, 62, 112, p), el("path", { d: `M150 ${y}H214`, class: "wire" }));
    g.append(el("circle", { cx: 38, cy: y, r: 24, class: "symbol" }));
    g.append(el("path", { d: `M26 ${y}c4 -12 8 -12 12 0s8 12 12 0`, class: "symbol" }));
    g.append(text(38, y + 42, "utility", "name", "middle"));
    const e = state.estimate;
    if (e && e.grid_f_hz != null) g.append(text(38, y + 57, `${Format.fixed(e.grid_f_hz, 2)} Hz`, "unit", "middle"));
    if (e && e.grid_v_v != null) g.append(text(38, y + 71, `${Format.fixed(e.grid_v_v, 1)} V`, "unit", "middle"));
    if (breaker) {
      const b = el("g", { "data-q": breaker.quality });
      b.append(el("title", {}, `${breaker.name}: ${ageText(breaker)}`));
      b.append(el("rect", { x: 112, y: y - 19, width: 38, height: 38, rx: 5, class: "box" }));
      const d = closed === true ? `M112 ${y}H150` : closed === false ? `M112 ${y}H120L144 ${y - 13}M146 ${y}H150` : `M112 ${y}H120M142 ${y}H150`;
      b.append(el("path", { d, class: "symbol" }));
      if (closed == null) b.append(text(131, y + 5, "?", "name", "middle"));
      b.append(text(131, y + 34, Format.clip(breaker.name, 10), "name", "middle"));
      b.append(text(131, y + 48, closed === true ? "closed" : closed === false ? "open" : "unknown", "unit", "middle"));
      b.append(text(131, y + 62, Format.clip(ageText(breaker), 18), "age", "middle"));
      g.append(b);
    } else g.append(el("path", { d: `M112 ${y}H150`, class: "wire" }));
    if (pcc) {
      const m = el("g", { "data-q": pcc.quality });
      m.append(el("title", {}, `${pcc.name}: ${ageText(pcc)}`));
      m.append(el("circle", { cx: 87, cy: y - 62, r: 11, class: "box" }), el("path", { d: `M87 ${y - 62}l5 -6M87 ${y - 51}V${y}`, class: "symbol" }));
      const label = text(10, y - 128, Format.clip(pcc.name, 14), "name");
      label.append(el("tspan", { dx: 7, class: "role" }, "pcc"));
      m.append(label);
      m.append(text(10, y - 106, watts(shown(pcc.p_w)), "p"));
      const parts = [];
      if (shown(pcc.q_var) != null) parts.push(Format.power(shown(pcc.q_var), "var"));
      if (shown(pcc.v_v) != null) parts.push(`${Format.fixed(shown(pcc.v_v), 1)} V`);
      if (shown(pcc.f_hz) != null) parts.push(`${Format.fixed(shown(pcc.f_hz), 2)} Hz`);
      m.append(text(10, y - 90, parts.join("\u2003"), "unit"), text(104, y - 58, Format.clip(ageText(pcc), 18), "age"));
      g.append(m);
    }
    return g;
  }

  function draw(svg, state) {
    const top = state.devices.filter((d) => ABOVE.includes(d.role));
    const bottom = state.devices.filter((d) => !ABOVE.includes(d.role) && d.role !== "pcc" && d.role !== "breaker");
    const columns = Math.max(3, top.length, bottom.length);
    const x0 = 236, width = x0 + columns * (CARD.w + CARD.gap), y = 186, yTop = 16, yBottom = 252;
    const height = bottom.length ? yBottom + CARD.h + 10 : y + 90;
    svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    svg.style.minWidth = `${Math.min(width, 1100) * 0.78}px`;
    const root = el("g");
    root.append(utility(state, y));
    root.append(el("path", { d: `M214 ${y}H${width - 14}`, class: "busbar" }));
    const e = state.estimate;
    if (e) root.append(text(width - 16, y - 12, [e.f_hz != null ? `${Format.fixed(e.f_hz, 3)} Hz` : "", e.v_v != null ? `${Format.fixed(e.v_v, 1)} V` : ""].join("\u2003"), "unit", "end"));
    const place = (list, yCard, yWire) => {
      const step = (columns * (CARD.w + CARD.gap)) / Math.max(list.length, 1);
      list.forEach((device, i) => {
        const x = x0 - 12 + step * i + (step - CARD.w) / 2;
        // A grid simulator is the utility itself: its power shows at the coupling point.
        if (device.role === "source") root.append(el("path", { d: `M${x + CARD.w / 2} ${yWire}V${y}`, class: "wire", "stroke-dasharray": "3 4" }));
        else if (device.role !== "battery") root.append(verticalFlow(x + CARD.w / 2, yWire, y, flowing(device.p_w)));
        else if (i > 0) root.append(el("path", { d: `M${x - (step - CARD.w)} ${yCard + CARD.h / 2}H${x}`, class: "wire", "stroke-dasharray": "3 4" }));
        root.append(card(device, x, yCard));
      });
    };
    place(top, yTop, yTop + CARD.h);
    place(bottom, yBottom, yBottom);
    // What moves is drawn all the time: among hundreds of wires nobody follows it.
    svg.dataset.many = state.devices.length > MANY;
    svg.replaceChildren(root);
    svg.setAttribute("aria-label", "Single-line diagram: " + state.devices.map((d) => `${d.name} ${d.role === "battery" ? Format.percent(shown(d.soc)) : d.role === "breaker" ? (d.switch_on.value ? "closed" : "open") : watts(shown(d.p_w))}`).join(", "));
  }
  return { draw };
})();
