// Line charts on canvas: ten minutes or any window, gaps where nothing is known, a reading under the pointer.
"use strict";
class Chart {
  // series: [{ name, color: css variable, values: [], low: [], high: [] }], times shared by all charts; low and
  // high, where there are some, are the extremes around each value.
  constructor(canvas, keys, unit, digits, leastSpan, reference) {
    Object.assign(this, { canvas, keys, unit, digits, leastSpan, reference, series: [], times: [], bands: [], pointer: null });
    canvas.addEventListener("pointermove", (e) => { this.pointer = e.offsetX; this.draw(); });
    canvas.addEventListener("pointerleave", () => { this.pointer = null; this.draw(); });
  }

  // window: null for the last ten minutes, else { from, to, step } in seconds since the run began.
  // bands: [{ from, to, low, high, color }] that something is to keep; null is open. One that is still to come makes room for itself.
  set(times, series, window, bands) {
    this.times = times;
    this.series = series;
    this.window = window;
    this.bands = (bands || []).filter((b) => b.from != null);
    this.draw();
  }

  static clock(t) {
    const s = Math.max(0, Math.round(t)), two = (n) => String(n).padStart(2, "0");
    return `${Math.floor(s / 3600)}:${two(Math.floor(s / 60) % 60)}:${two(s % 60)}`;
  }

  // Round steps of 1, 2 or 5.
  static step(span, count) {
    const raw = span / count, power = 10 ** Math.floor(Math.log10(raw));
    return [1, 2, 5, 10].map((m) => m * power).find((s) => s >= raw) || raw;
  }

  range() {
    let low = Infinity, high = -Infinity;
    for (const s of this.series) for (const list of [s.values, s.low || [], s.high || []]) for (const v of list) if (v != null) { low = Math.min(low, v); high = Math.max(high, v); }
    for (const b of this.bands) for (const v of [b.low, b.high]) if (v != null) { low = Math.min(low, v); high = Math.max(high, v); }
    if (low > high) [low, high] = this.reference != null ? [this.reference, this.reference] : [0, 0];
    const missing = this.leastSpan - (high - low);
    if (missing > 0) { low -= missing / 2; high += missing / 2; }
    const pad = (high - low) * 0.08;
    return [low - pad, high + pad];
  }

  draw() {
    const { canvas } = this, ratio = window.devicePixelRatio || 1;
    const w = canvas.clientWidth, h = canvas.clientHeight;
    if (!w || !h) return;
    if (canvas.width !== Math.round(w * ratio)) { canvas.width = Math.round(w * ratio); canvas.height = Math.round(h * ratio); }
    const c = canvas.getContext("2d"), css = getComputedStyle(document.documentElement);
    const color = (name) => css.getPropertyValue(name).trim();
    c.setTransform(ratio, 0, 0, ratio, 0, 0);
    c.clearRect(0, 0, w, h);
    c.font = "11px system-ui, sans-serif";
    const box = { l: 52, r: w - 8, t: 8, b: h - 20 };
    const [low, high] = this.range();
    const win = this.window;
    const last = this.times.length ? this.times[this.times.length - 1] : 0;
    const ahead = win ? 0 : Math.min(60, Math.max(0, ...this.bands.map((b) => (b.to ?? b.from + 5) - last)));
    const end = win ? win.to : last + ahead;
    const first = win ? win.from : this.times.length ? this.times[0] : 0;
    const span = win ? Math.max(1, end - first) : Math.min(600, Math.max(60, end - first)), start = end - span;
    const pause = this.pause = win ? Math.max(3, 2.5 * win.step) : 5;
    const x = (t) => box.l + ((t - start) / span) * (box.r - box.l);
    const y = (v) => box.b - ((v - low) / (high - low)) * (box.b - box.t);

    c.lineWidth = 1;
    const step = Chart.step(high - low, 4);
    c.textAlign = "right"; c.textBaseline = "middle";
    for (let v = Math.ceil(low / step) * step; v <= high; v += step) {
      c.strokeStyle = color("--line"); c.globalAlpha = Math.abs(v) < step / 1e6 ? 1 : 0.6;
      c.beginPath(); c.moveTo(box.l, y(v)); c.lineTo(box.r, y(v)); c.stroke();
      c.globalAlpha = 1; c.fillStyle = color("--dim");
      c.fillText(v.toFixed(Math.max(0, Math.min(this.digits, -Math.floor(Math.log10(step) + 1e-9)))), box.l - 6, y(v));
    }
    c.textAlign = "center"; c.textBaseline = "top";
    const ticks = win ? span / 4 : span > 300 ? 120 : span > 120 ? 60 : 20;
    for (let i = 0; win && i <= 4; i++) {
      c.fillStyle = color("--dim");
      c.textAlign = i === 0 ? "left" : i === 4 ? "right" : "center";
      c.fillText(Chart.clock(start + i * ticks), x(start + i * ticks), box.b + 6);
    }
    for (let ago = 0; !win && ago <= last - start; ago += ticks) {
      c.fillStyle = color("--dim");
      const label = ago === 0 ? "now" : ago % 60 ? `−${ago} s` : `−${ago / 60} min`;
      c.textAlign = ago === 0 && !ahead ? "right" : "center";
      if (x(last - ago) > box.l + 14) c.fillText(label, x(last - ago), box.b + 6);
    }
    if (this.reference != null && this.reference > low && this.reference < high) {
      c.strokeStyle = color("--dim"); c.setLineDash([4, 4]);
      c.beginPath(); c.moveTo(box.l, y(this.reference)); c.lineTo(box.r, y(this.reference)); c.stroke(); c.setLineDash([]);
    }
    c.save(); c.beginPath(); c.rect(box.l, 0, box.r - box.l + 2, h); c.clip();
    for (const b of this.bands) {
      const from = x(b.from), to = x(b.to ?? end), top = b.high == null ? box.t : y(b.high), bottom = b.low == null ? box.b : y(b.low);
      c.fillStyle = c.strokeStyle = color(b.color);
      c.globalAlpha = 0.18; c.fillRect(from, top - 1, to - from, bottom - top + 2);
      c.globalAlpha = 0.9; c.lineWidth = 1; c.setLineDash([4, 3]);
      for (const edge of [b.high == null ? null : top, b.low == null ? null : bottom]) if (edge != null) { c.beginPath(); c.moveTo(from, edge); c.lineTo(to, edge); c.stroke(); }
      c.globalAlpha = 1; c.setLineDash([]);
    }
    c.lineWidth = 1.8; c.lineJoin = "round";
    for (const s of this.series) {
      if (!s.low) continue;
      c.fillStyle = color(s.color); c.globalAlpha = 0.25;
      const half = ((win ? win.step : 1) / 2 / span) * (box.r - box.l) + 0.5;
      for (let i = 0; i < this.times.length; i++) if (s.low[i] != null) {
        const top = y(s.high[i]);
        c.fillRect(x(this.times[i]) - half, top, 2 * half, Math.max(1, y(s.low[i]) - top));
      }
      c.globalAlpha = 1;
    }
    for (const s of this.series) {
      c.strokeStyle = color(s.color); c.setLineDash(s.dashed ? [5, 3] : []); c.beginPath();
      let pen = false, last = 0;
      for (let i = 0; i < this.times.length; i++) {
        const v = s.values[i], t = this.times[i];
        // A pause of the controller is a gap too.
        // A part of a window may be shorter than the time between two readings: only a longer pause is a gap there.
        if (v == null && win) continue;
        if (v == null || t < start - 2) { pen = false; continue; }
        if (pen && t - last > pause) pen = false;
        if (pen) c.lineTo(x(t), y(v)); else c.moveTo(x(t), y(v));
        pen = true;
        last = t;
      }
      c.stroke();
    }
    c.setLineDash([]);
    c.restore();

    let at = this.times.length - 1;
    if (this.pointer != null && this.times.length) {
      const t = start + ((this.pointer - box.l) / (box.r - box.l)) * span;
      at = this.times.reduce((best, time, i) => (Math.abs(time - t) < Math.abs(this.times[best] - t) ? i : best), 0);
      c.strokeStyle = color("--text"); c.lineWidth = 1; c.globalAlpha = 0.5;
      c.beginPath(); c.moveTo(x(this.times[at]), box.t); c.lineTo(x(this.times[at]), box.b); c.stroke(); c.globalAlpha = 1;
    }
    this.showKeys(at);
  }

  // The value at a point of time, in a window also the one shortly before it.
  near(values, at) {
    if (!this.window) return values[at];
    for (let i = at; i >= 0 && this.times[at] - this.times[i] <= this.pause; i--) if (values[i] != null) return values[i];
    return null;
  }

  showKeys(at) {
    const spans = this.series.map((s) => {
      const key = document.createElement("span"), mark = document.createElement("i"), value = document.createElement("b");
      mark.style.background = `var(${s.color})`;
      const v = this.near(s.values, at);
      value.textContent = v == null ? "–" : `${Format.fixed(v, this.digits)} ${this.unit}`;
      key.append(mark, s.name, value);
      return key;
    });
    this.keys.replaceChildren(...spans);
    const title = this.canvas.parentElement.querySelector("h2").firstChild.textContent.trim();
    this.canvas.setAttribute("aria-label", `${title}: ${spans.map((s) => s.textContent).join(", ") || "nothing is known yet"}`);
  }
}
