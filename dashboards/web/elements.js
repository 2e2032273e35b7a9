// What the page's scripts share: numbers as text, elements, and patience with what is costly to draw.
"use strict";
const Format = {
  known: (v) => v != null && !Number.isNaN(v),
  fixed: (v, digits) => (v == null ? "–" : (Math.abs(v) < 0.5 * 10 ** -digits ? 0 : v).toFixed(digits).replace("-", "−")),
  power: (v, unit) => (v == null ? `– ${unit}` : Math.abs(v) >= 9999.5 ? `${Format.fixed(v / 1000, 1)} k${unit}` : `${Format.fixed(v, 0)} ${unit}`),
  percent: (v) => (v == null ? "–" : `${(v * 100).toFixed(0)} %`),
  age: (s) => (s == null ? "–" : s < 0.9995 ? `${(s * 1000).toFixed(0)} ms` : s < 120 ? `${s.toFixed(1)} s` : `${(s / 60).toFixed(0)} min`),
  clip: (text, length) => (text.length > length ? text.slice(0, length - 1) + "…" : text),
  words: (name) => name.replaceAll("_", " "),
  count: (n) => n.toLocaleString("en").replaceAll(",", "\u202f"),
  clock: (t) => {
    const s = Math.max(0, Math.round(t)), two = (n) => String(n).padStart(2, "0");
    return `${Math.floor(s / 3600)}:${two(Math.floor(s / 60) % 60)}:${two(s % 60)}`;
  },
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
// Draws at most a part of the time: what takes long is drawn less often, so that the page always answers a
// person. What comes meanwhile is drawn once, when its turn has come; on a machine with much else to do, too.
const REST = 20, REST_MAX_MS = 5000;
function paced(draw) {
  let timer = null, free = 0;
  return () => {
    if (timer) return;
    timer = setTimeout(() => {
      timer = null;
      const began = performance.now();
      draw();
      free = performance.now() + Math.min(REST_MAX_MS, REST * (performance.now() - began));
    }, Math.max(0, free - performance.now()));
  };
}
