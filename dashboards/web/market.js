// The market card: the book of an interval as two curves, what each participant traded and did, and the price over the last intervals.
"use strict";
const Market = (() => {
  const NS = "http://www.w3.org/2000/svg", W = 420, H = 190, BOX = { l: 52, r: W - 10, t: 12, b: H - 24 };
  // Bids that are to be served whatever it costs stand at the bounds of the price and would flatten all else.
  const CAP_MC = 300000, FLOOR_MC = -50000;
  const cents = (mc) => `${Format.fixed(mc / 1000, 3)} ct/kWh`;
  const watthours = (mwh) => (mwh == null ? "–" : `${Format.fixed(mwh / 1000, 1)} Wh`);
  const el = (name, attributes, ...children) => {
    const node = document.createElementNS(NS, name);
    for (const [key, value] of Object.entries(attributes || {})) node.setAttribute(key, value);
    node.append(...children);
    return node;
  };
  const text = (x, y, content, anchor) => el("text", { x, y, "text-anchor": anchor || "start" }, String(content));
  let shown = null;

  // Steps of one side, best price first, as [energy at which it ends, price].
  function curve(orders, side) {
    const steps = orders.filter((o) => o.side === side).flatMap((o) => o.steps).sort((a, b) => (side === "buy" ? b[0] - a[0] : a[0] - b[0]));
    let energy = 0;
    return steps.map(([price, quantity]) => [(energy += quantity), price]);
  }

  function book(i) {
    const svg = $("book"), demand = curve(i.orders, "buy"), supply = curve(i.orders, "sell");
    const total = (c) => (c.length ? c[c.length - 1][0] : 0);
    // The utility could always do much more: what is near the trade is shown.
    const span = Math.max(1, Math.min(Math.max(total(demand), total(supply)), Math.max(total(demand) * 1.15, i.energy_mwh * 2)));
    const prices = [...demand, ...supply].map(([, price]) => price).concat(i.price_mc_per_kwh ?? []).filter((p) => p < CAP_MC && p > FLOOR_MC);
    let low = Math.min(...prices, 0), high = Math.max(...prices, low + 1000);
    const pad = (high - low) * 0.12;
    [low, high] = [low - pad, high + pad];
    const x = (e) => BOX.l + (Math.min(e, span) / span) * (BOX.r - BOX.l);
    const y = (p) => BOX.b - ((Math.max(low, Math.min(high, p)) - low) / (high - low)) * (BOX.b - BOX.t);
    const line = (c, name) => {
      let d = "", from = 0;
      for (const [to, price] of c) { if (from > span) break; d += `${d ? "L" : "M"}${x(from)} ${y(price)}L${x(to)} ${y(price)}`; from = to; }
      return el("path", { d, class: name });
    };
    const parts = [el("path", { d: `M${BOX.l} ${BOX.t}V${BOX.b}H${BOX.r}`, class: "axis" })];
    for (const p of [low + pad, high - pad]) parts.push(text(BOX.l - 6, y(p) + 4, Format.fixed(p / 1000, 1), "end"));
    parts.push(text(BOX.r, H - 8, watthours(span), "end"), text(BOX.l, H - 8, "0"), text(BOX.l + 6, BOX.t + 2, "ct/kWh"));
    parts.push(line(demand, "demand"), line(supply, "supply"));
    if (i.price_mc_per_kwh != null) parts.push(el("path", { d: `M${BOX.l} ${y(i.price_mc_per_kwh)}H${x(i.energy_mwh)}V${BOX.b}`, class: "cleared" }), el("circle", { cx: x(i.energy_mwh), cy: y(i.price_mc_per_kwh), r: 4, class: "dot" }));
    svg.replaceChildren(...parts);
    svg.setAttribute("aria-label", `Book of interval ${i.interval}: ${i.orders.length} orders, ${i.price_mc_per_kwh == null ? "nothing traded" : `${watthours(i.energy_mwh)} at ${cents(i.price_mc_per_kwh)}`}`);
  }

  // Price of each kept interval, the oldest on the left.
  function prices(list) {
    const svg = $("prices"), known = list.filter((i) => i.price_mc_per_kwh != null).map((i) => i.price_mc_per_kwh);
    if (!known.length) { svg.replaceChildren(text(BOX.l, 40, "nothing was traded yet")); return; }
    const low = Math.min(...known, 0), high = Math.max(...known, low + 1000), h = 90;
    const width = (BOX.r - BOX.l) / Math.max(list.length, 10), y = (p) => h - 18 - ((p - low) / (high - low)) * (h - 30);
    const bars = [...list].reverse().map((i, n) => (i.price_mc_per_kwh == null ? "" : el("rect", { x: BOX.l + n * width + 1, width: Math.max(2, width - 2), y: Math.min(y(0), y(i.price_mc_per_kwh)), height: Math.max(1, Math.abs(y(i.price_mc_per_kwh) - y(0))), class: i.interval === (shown ?? list[0].interval) ? "bar chosen" : "bar" })));
    svg.replaceChildren(...bars.filter(Boolean), text(BOX.l - 6, y(high) + 4, Format.fixed(high / 1000, 1), "end"), text(BOX.l, h - 4, `interval ${list[list.length - 1].interval}`), text(BOX.r, h - 4, `${list[0].interval}`, "end"));
    svg.setAttribute("aria-label", `Price of the last ${list.length} intervals, newest first: ${list.map((i) => (i.price_mc_per_kwh == null ? "none" : cents(i.price_mc_per_kwh))).join(", ")}`);
  }

  const atomButton = (atom, label, key) => {
    const button = make("button", { type: "button", class: "link", "data-key": key, title: "Look at its record in the ledger" }, label);
    button.addEventListener("click", () => Explorer.open(atom));
    return button;
  };
  function positions(i, accounts) {
    const balance = new Map(accounts.map((a) => [a.name, a.balance]));
    const rows = i.participants.map((p) => {
      const own = i.orders.filter((o) => o.who === p.who);
      const orders = own.map((o) => {
        const of = o.steps.reduce((sum, [, quantity]) => sum + quantity, 0), said = `${o.side === "buy" ? "buys" : "sells"} ${watthours(o.served_mwh)} of ${watthours(of)}`;
        return o.atom ? atomButton(o.atom, said, `${o.atom}`) : said;
      });
      const why = p.quality && p.quality !== "valid" ? p.quality : null;
      const given = balance.get(p.who);
      balance.delete(p.who);
      return make("tr", {}, make("th", { scope: "row" }, p.who), make("td", {}, ...(orders.length ? orders : [make("span", { class: "dim" }, "no order")])),
        make("td", { class: "r" }, watthours(p.committed_mwh)),
        make("td", { class: p.metered_mwh == null ? "r old" : "r", title: why }, watthours(p.metered_mwh) + (why ? ` (${why})` : "")),
        make("td", { class: p.amount_ct == null ? "r old" : "r" }, p.amount_ct == null ? "not yet" : `${Format.fixed(p.amount_ct, 4)} ct`),
        make("td", { class: "r" }, given ?? "–"));
    });
    // Losses, surpluses and penalties have accounts, and no meter.
    for (const [name, amount] of balance) rows.push(make("tr", {}, make("th", { scope: "row" }, name), make("td", { colspan: 4 }), make("td", { class: "r" }, amount)));
    refill($("positions"), rows, JSON.stringify([i, accounts]));
  }

  function draw(m) {
    const card = $("market-card"), list = m ? m.intervals : [];
    card.dataset.known = list.length > 0;
    if (!list.length) { $("market-now").textContent = "no interval cleared yet"; return; }
    const select = $("market-interval"), newest = list[0].interval;
    const options = list.map((i) => make("option", { value: i.interval }, `${i.interval}${i.settled ? "" : i.failure ? ", not cleared" : ", not settled yet"}`));
    const signature = JSON.stringify(list.map((i) => [i.interval, i.settled]));
    if (select.dataset.signature !== signature) {
      select.dataset.signature = signature;
      select.replaceChildren(make("option", { value: "" }, `newest (${newest})`), ...options);
      if (shown != null && !list.some((i) => i.interval === shown)) shown = null;
      select.value = shown == null ? "" : String(shown);
    }
    const i = list.find((one) => one.interval === shown) || list[0];
    const state = i.failure ? `not cleared: ${i.failure}` : i.price_mc_per_kwh == null ? "nothing traded" : `${watthours(i.energy_mwh)} at ${cents(i.price_mc_per_kwh)}`;
    const settled = i.settled ? `settled${i.excused ? ", excused" : ""}; ${watthours(i.unaccounted_mwh)} belong to nobody` : "not settled yet";
    $("market-now").textContent = `${m.mechanism}, ${Format.clock(i.from_s)} to ${Format.clock(i.until_s)}: ${state}; ${settled}`;
    $("market-clearing").onclick = () => Explorer.open(i.atom);
    book(i); prices(list); positions(i, m.accounts);
    document.body.dataset.market = i.interval;
  }
  let last = null;
  async function ask() {
    const answer = await fetch("/api/v1/market");
    if (answer.ok) { last = await answer.json(); draw(last); }
  }
  $("market-interval").addEventListener("change", (e) => { shown = e.target.value === "" ? null : Number(e.target.value); if (last) draw(last); });
  return { ask };
})();
