// Line charts of a window of time: holes where nothing is known, bands that something is to keep, a reading
// under the pointer or by the keyboard, and a window that can be chosen on them. Chart.js has the frame: axes,
// scales and size; it is asked for once the page has been painted. The lines are drawn on its canvas straight from
// the lists of numbers: an object for each point, as its own lines have, is what made the page's memory grow.
"use strict";
// A column of a line, in pixels: what falls into one is drawn as its lowest and highest value, as an oscilloscope
// does. Chosen: 2, about the width of a line, so that nothing is seen of it.
const COLUMN_PX = 2;
class Curves {
  // series: [{ name, color: css variable, values: [], low: [], high: [], thin, dashed }], times shared by all of
  // them; low and high, where there are some, are the extremes around each value. The lists may be typed ones: what
  // is not known is null or NaN.
  constructor(canvas, keys, unit, digits, leastSpan, reference) {
    Object.assign(this, { canvas, keys, unit, digits, leastSpan, reference, series: [], times: [], bands: [], window: null, pointer: null, drag: null, drawn: new Map() });
    this.draw = paced(() => this.paint());
    canvas.addEventListener("pointerdown", (e) => this.grab(e));
    canvas.addEventListener("pointermove", (e) => this.move(e));
    canvas.addEventListener("pointerup", (e) => this.drop(e));
    canvas.addEventListener("pointercancel", () => { this.drag = null; this.mark(); });
    canvas.addEventListener("pointerleave", () => { this.pointer = null; this.mark(); });
    canvas.addEventListener("dblclick", () => Curves.back());
    canvas.addEventListener("wheel", (e) => this.wheel(e), { passive: false });
    canvas.addEventListener("keydown", (e) => this.key(e));
    canvas.addEventListener("blur", () => { this.pointer = null; this.keys.removeAttribute("aria-live"); this.mark(); });
    Curves.all.push(this);
  }

  // window: null for the last ten minutes, else { from, to, step } in seconds since the run began; step is the
  // length of the parts into which a window was cut.
  // bands: [{ from, to, low, high, color }] that something is to keep; null is open. One that is still to come makes room for itself.
  set(times, series, window, bands) {
    this.times = times;
    this.series = series;
    this.window = window;
    this.bands = (bands || []).filter((b) => b.from != null);
    this.draw();
  }

  // Round steps of 1, 2 or 5.
  static step(span, count) {
    const raw = span / count, power = 10 ** Math.floor(Math.log10(raw));
    return [1, 2, 5, 10].map((m) => m * power).find((s) => s >= raw) || raw;
  }

  range() {
    const { start, end } = this.view;
    let low = Infinity, high = -Infinity;
    const see = (v) => { if (v == null) return; if (v < low) low = v; if (v > high) high = v; };
    for (let i = 0; i < this.times.length; i++) {
      if (this.times[i] < start || this.times[i] > end) continue;
      for (const s of this.series) { see(s.values[i]); if (s.low) { see(s.low[i]); see(s.high[i]); } }
    }
    for (const b of this.bands) if (b.from <= end && (b.to ?? end) >= start) { see(b.low); see(b.high); }
    if (low > high) [low, high] = this.reference != null ? [this.reference, this.reference] : [0, 0];
    const missing = this.leastSpan - (high - low);
    if (missing > 0) { low -= missing / 2; high += missing / 2; }
    const pad = (high - low) * 0.08;
    return [low - pad, high + pad];
  }

  // Which stretch of time is shown.
  look() {
    const win = this.window, last = this.times.length ? this.times[this.times.length - 1] : 0;
    const ahead = win ? 0 : Math.min(60, Math.max(0, ...this.bands.map((b) => (b.to ?? b.from + 5) - last)));
    const end = win ? win.to : last + ahead, first = win ? win.from : this.times.length ? this.times[0] : 0;
    const span = win ? Math.max(0.1, end - first) : Math.min(600, Math.max(60, end - first));
    this.pause = win && win.step ? Math.max(3, 2.5 * win.step) : 5;
    this.view = { start: end - span, end, span, last, ahead };
  }

  // Walks along a line: see(t, v) for each point of it, v null where it has a hole. A pause of the controller is a hole, too.
  // A part of a window may be shorter than the time between two readings: only a longer pause is a hole there.
  // A value that stands alone is a short stroke.
  walk(values, see) {
    const { start, end } = this.view, parts = this.window && this.window.step, half = (parts || 0.5) / 2;
    let before = null, latest = null, alone = false;
    for (let i = 0; i < this.times.length; i++) {
      const v = values[i], t = this.times[i], known = Format.known(v);
      if (t < start - this.pause || t > end + this.pause || (!known && parts)) continue;
      if (before != null && (!known || t - before > this.pause)) {
        if (alone) see(before + half, latest);
        see(known ? (t + before) / 2 : t, null);
        before = null;
      }
      if (!known) continue;
      alone = before == null;
      see(t, v);
      before = t;
      latest = v;
    }
    if (before != null && alone) see(before + half, latest);
  }

  // Draws a line, column by column; how many corners it has got is remembered by its name.
  line(c, series, { chartArea: box, scales: { y } }) {
    const { start, span } = this.view, per = (box.right - box.left) / span, top = y.getPixelForValue(y.max), [least, most] = [y.min, y.max], rise = (y.getPixelForValue(least) - top) / (most - least);
    let column = null, lows = 0, low = 0, highs = 0, high = 0, corners = 0;
    const to = (x, v) => { c.lineTo(x, top + (most - v) * rise); corners += 1; };
    const flush = () => {
      if (column == null) return;
      if (lows < highs) { to(lows, low); to(highs, high); } else { to(highs, high); if (lows > highs) to(lows, low); }
      column = null;
    };
    c.strokeStyle = this.color(series.color);
    c.lineWidth = series.thin ? 1 : 1.8;
    c.setLineDash(series.dashed ? [5, 3] : []);
    c.beginPath();
    let pen = false;
    this.walk(series.values, (t, v) => {
      const x = box.left + (t - start) * per, at = Math.floor(x / COLUMN_PX);
      if (v == null) { flush(); pen = false; return; }
      if (!pen) { c.moveTo(x, top + (most - v) * rise); pen = true; }
      if (column !== at) { flush(); column = at; lows = highs = x; low = high = v; return; }
      if (v < low) { low = v; lows = x; }
      if (v > high) { high = v; highs = x; }
    });
    flush();
    c.stroke();
    this.drawn.set(series.name, corners);
  }

  ticks() {
    const { start, span, last, ahead } = this.view;
    if (this.window) return [0, 1, 2, 3, 4].map((i) => ({ value: start + (i * span) / 4, label: Format.clock(start + (i * span) / 4) }));
    const every = span > 300 ? 120 : span > 120 ? 60 : 20, list = [];
    for (let ago = 0; ago <= last - start; ago += every) list.push({ value: last - ago, label: ago === 0 ? "now" : ago % 60 ? `−${ago} s` : `−${ago / 60} min` });
    return ahead || list.length ? list.reverse() : [];
  }

  // The library comes after the first picture of the page, and all that was set is drawn with it.
  static load() {
    const script = document.createElement("script");
    script.src = "/chart.umd.js";
    script.addEventListener("load", () => { for (const c of Curves.all) c.draw(); });
    script.addEventListener("error", () => { for (const c of Curves.all) c.keys.textContent = "The charts cannot be drawn: their library did not arrive. Reload the page."; });
    document.head.append(script);
  }

  paint() {
    if (typeof Chart === "undefined" || !this.canvas.clientWidth) return;
    this.look();
    const css = getComputedStyle(document.documentElement), color = (name) => css.getPropertyValue(name).trim();
    const [low, high] = this.range(), step = Curves.step(high - low, 4);
    this.color = color;
    this.levels = [];
    for (let v = Math.ceil(low / step) * step; v <= high; v += step) this.levels.push({ value: v });
    this.plot = this.plot || new Chart(this.canvas, this.frame());
    const { x, y } = this.plot.options.scales;
    Object.assign(x, { min: this.view.start, max: this.view.end });
    Object.assign(y, { min: low, max: high });
    y.grid.color = color("--line");
    x.ticks.color = y.ticks.color = color("--dim");
    this.places = Math.max(0, Math.min(this.digits, -Math.floor(Math.log10(step) + 1e-9)));
    this.drawn.clear();
    this.plot.update("none");
    this.tell();
  }

  frame() {
    return {
      type: "line",
      data: { datasets: [] },
      options: {
        animation: false, responsive: true, maintainAspectRatio: false, events: [],
        layout: { padding: { top: 8, right: 8 } },
        plugins: { legend: { display: false }, tooltip: { enabled: false } },
        scales: {
          x: { type: "linear", grid: { display: false }, border: { display: false }, afterBuildTicks: (axis) => { axis.ticks = this.ticks(); },
            ticks: { autoSkip: false, maxRotation: 0, align: "inner", font: { size: 11 }, callback: (_, i) => (this.ticks()[i] || {}).label } },
          // All charts have their axes in one line.
          y: { type: "linear", border: { display: false }, afterFit: (axis) => { axis.width = 54; }, afterBuildTicks: (axis) => { axis.ticks = [...this.levels]; }, grid: {},
            ticks: { autoSkip: false, font: { size: 11 }, callback: (v) => v.toFixed(this.places).replace("-", "−") } },
        },
      },
      plugins: [{ id: "under", beforeDatasetsDraw: (chart) => this.under(chart) }, { id: "over", afterDatasetsDraw: (chart) => this.over(chart) }],
    };
  }

  // The lines, and what lies under them: bands that are to be kept, the extremes, and what should be.
  under(chart) {
    const { ctx: c, chartArea: box, scales: { x, y } } = chart;
    const at = (t) => x.getPixelForValue(t), of = (v) => y.getPixelForValue(v), color = this.color;
    c.save();
    c.beginPath(); c.rect(box.left, 0, box.right - box.left + 2, box.bottom); c.clip();
    for (const b of this.bands) {
      const from = at(b.from), to = at(b.to ?? this.view.end), top = b.high == null ? box.top : of(b.high), bottom = b.low == null ? box.bottom : of(b.low);
      c.fillStyle = c.strokeStyle = color(b.color);
      c.globalAlpha = 0.18; c.fillRect(from, top - 1, to - from, bottom - top + 2);
      c.globalAlpha = 0.9; c.lineWidth = 1; c.setLineDash([4, 3]);
      for (const edge of [b.high == null ? null : top, b.low == null ? null : bottom]) if (edge != null) { c.beginPath(); c.moveTo(from, edge); c.lineTo(to, edge); c.stroke(); }
      c.setLineDash([]);
    }
    for (const s of this.series) {
      if (!s.low) continue;
      c.fillStyle = color(s.color); c.globalAlpha = 0.25;
      const half = (((this.window && this.window.step) || 1) / 2 / this.view.span) * (box.right - box.left) + 0.5;
      for (let i = 0; i < this.times.length; i++) if (Format.known(s.low[i])) c.fillRect(at(this.times[i]) - half, of(s.high[i]), 2 * half, Math.max(1, of(s.low[i]) - of(s.high[i])));
    }
    if (this.reference != null) {
      c.strokeStyle = color("--dim"); c.globalAlpha = 1; c.setLineDash([4, 4]);
      c.beginPath(); c.moveTo(box.left, of(this.reference)); c.lineTo(box.right, of(this.reference)); c.stroke();
    }
    c.beginPath(); c.rect(box.left, box.top - 1, box.right - box.left, box.bottom - box.top + 2); c.clip();
    c.globalAlpha = 1; c.lineJoin = "round";
    for (const s of this.series) this.line(c, s, chart);
    c.restore();
  }

  // What lies over them: where is read, and the window that is being chosen.
  over({ ctx: c, chartArea: box, scales: { x } }) {
    c.save();
    c.strokeStyle = c.fillStyle = this.color("--text"); c.lineWidth = 1; c.globalAlpha = 0.5;
    const at = this.reading();
    if (this.pointer != null && at >= 0) { const px = x.getPixelForValue(this.times[at]); c.beginPath(); c.moveTo(px, box.top); c.lineTo(px, box.bottom); c.stroke(); }
    if (this.drag && !this.drag.pans) {
      const [from, to] = [this.drag.from, this.drag.to].map((t) => x.getPixelForValue(t));
      c.globalAlpha = 0.15; c.fillRect(from, box.top, to - from, box.bottom - box.top);
    }
    c.restore();
  }

  // Only the marks have changed.
  mark() { if (this.plot) { this.plot.draw(); this.tell(); } }

  // Which point of time is read: the one under the pointer, else the latest that is shown.
  reading() {
    if (!this.view) return -1;
    const t = this.pointer ?? this.view.end;
    return this.times.reduce((best, time, i) => (best < 0 || Math.abs(time - t) < Math.abs(this.times[best] - t) ? i : best), -1);
  }

  // The value at a point of time, in a window also the one shortly before it.
  near(values, at) {
    if (!this.window) return Format.known(values[at]) ? values[at] : null;
    for (let i = at; i >= 0 && this.times[at] - this.times[i] <= this.pause; i--) if (Format.known(values[i])) return values[i];
    return null;
  }

  tell() {
    const at = this.reading(), text = (v) => (v == null ? "–" : `${Format.fixed(v, this.digits)} ${this.unit}`);
    const legend = this.series.map((s) => `${s.color} ${s.name}`).join("\n");
    // The keys stay as long as the lines do: only what they say is written.
    if (this.legend !== legend) {
      this.legend = legend;
      this.clock = make("span");
      this.told = this.series.map(() => make("b"));
      this.keys.replaceChildren(this.clock, ...this.series.map((s, i) => {
        const mark = make("i");
        mark.style.background = `var(${s.color})`;
        return make("span", {}, mark, s.name, this.told[i]);
      }));
    }
    const write = (node, said) => { if (node.textContent !== said) node.textContent = said; };
    this.clock.hidden = this.pointer == null || at < 0;
    write(this.clock, this.clock.hidden ? "" : Format.clock(this.times[at]));
    this.series.forEach((s, i) => write(this.told[i], text(at < 0 ? null : this.near(s.values, at))));
    const title = this.canvas.closest("section").querySelector("h2").firstChild.textContent.trim();
    const said = this.series.slice(0, Curves.TOLD).map((s) => {
      let low = null, high = null, holes = 0;
      this.times.forEach((t, i) => { const v = s.values[i]; if (t < this.view.start || t > this.view.end) return; if (!Format.known(v)) { holes += 1; return; } low = Math.min(low ?? v, v); high = Math.max(high ?? v, v); });
      return `${s.name} ${text(at < 0 ? null : this.near(s.values, at))}, from ${text(low)} to ${text(high)}${holes && !(this.window && this.window.step) ? ", with holes" : ""}`;
    });
    const more = this.series.length - said.length;
    this.canvas.setAttribute("aria-label", `${title}, ${Format.clock(this.view.start)} to ${Format.clock(this.view.end)}: ${said.join("; ") || "nothing is known yet"}${more > 0 ? `; and ${more} more` : ""}`);
  }

  // Pointer: a stretch that is drawn over becomes the window; with Shift the window is pushed.
  time(event) { return this.plot.scales.x.getValueForPixel(event.offsetX); }
  grab(e) {
    if (!this.plot || e.button !== 0 || e.pointerType === "touch") return;
    this.canvas.setPointerCapture(e.pointerId);
    const t = this.time(e);
    this.drag = { from: t, to: t, x: e.offsetX, pans: e.shiftKey, view: this.view };
  }
  move(e) {
    if (!this.plot) return;
    this.pointer = this.time(e);
    if (this.drag) {
      this.drag.to = this.pointer;
      if (this.drag.pans) { const by = (this.drag.x - e.offsetX) * (this.drag.view.span / (this.plot.chartArea.right - this.plot.chartArea.left)); Curves.choose(this.drag.view.start + by, this.drag.view.end + by); }
    }
    this.mark();
  }
  drop(e) {
    const drag = this.drag;
    this.drag = null;
    if (drag && !drag.pans && Math.abs(e.offsetX - drag.x) > 6) Curves.choose(Math.min(drag.from, drag.to), Math.max(drag.from, drag.to));
    this.mark();
  }
  // Without Ctrl the wheel scrolls the page.
  wheel(e) {
    if (!this.plot || !e.ctrlKey) return;
    e.preventDefault();
    this.zoom(e.deltaY > 0 ? 1.25 : 0.8, this.time(e));
  }
  zoom(factor, around) {
    const { start, end } = this.view, middle = around ?? (start + end) / 2;
    Curves.choose(middle - (middle - start) * factor, middle + (end - middle) * factor);
  }
  key(e) {
    if (!this.view) return;
    const { start, end, span } = this.view, sign = e.key === "ArrowLeft" ? -1 : 1;
    if (e.key === "+" || e.key === "=") this.zoom(0.5, this.pointer);
    else if (e.key === "-") this.zoom(2, this.pointer);
    else if (e.key === "Escape") Curves.back();
    else if (e.key.startsWith("Arrow") && /Left|Right/.test(e.key) && e.shiftKey) Curves.choose(start + (sign * span) / 4, end + (sign * span) / 4);
    else if (/^Arrow(Left|Right)$/.test(e.key)) {
      const at = this.reading() + sign;
      this.keys.setAttribute("aria-live", "polite");
      if (this.times[at] >= start && this.times[at] <= end) { this.pointer = this.times[at]; this.mark(); }
    } else return;
    e.preventDefault();
  }
}
Curves.all = [];
// Lines that a reader of screens is told of: the rest is in the table of devices.
Curves.TOLD = 12;
// What becomes of a window that was chosen on a chart, and the way back; who shows the past says so.
Curves.choose = () => {};
Curves.back = () => {};
