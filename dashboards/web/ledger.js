// The ledger explorer: a page of entries, and one entry with everything that hangs together with it, each one click away.
"use strict";
const Explorer = (() => {
  // In the order in which a megawatt-hour goes through them.
  const KINDS = [["terms", "Terms"], ["order", "Orders"], ["withdrawal", "Withdrawals"], ["clearing", "Clearing"], ["trade", "Trades"], ["dispatch", "Dispatches"], ["dispatch-ack", "Acknowledgements"], ["meter-reading", "Meter readings"], ["activation", "Reserve called"], ["infeasible", "Cannot be delivered"], ["settlement", "Settlement"], ["mint", "Credits minted"], ["transfer", "Credits moved"]];
  const EVERY_MS = 3000;
  let before = null, next = null, opened = null, asking = 0;

  const run = () => $("past-run").value;
  async function ask(path, query) {
    if (run()) query.set("run", run());
    const answer = await fetch(`/api/v1/ledger${path}?${query}`), said = await answer.json();
    if (!answer.ok) throw new Error(`${said.message}; ${said.help}`);
    return said;
  }
  const tell = (text) => { $("explorer-note").textContent = text; };

  function row(line, mark) {
    const button = make("button", { type: "button", class: "entry", "data-key": line.atom, "aria-current": line.atom === opened ? "true" : null },
      make("span", { class: "t" }, String(line.clock)), make("span", { class: "pill" }, line.kind), make("span", { class: "grow" }, line.text), make("span", { class: "dim" }, mark || ""));
    button.addEventListener("click", () => open(line.atom));
    return make("li", { "data-kind": line.kind, "data-who": line.who }, button);
  }

  async function list() {
    const query = new URLSearchParams({ limit: "50" }), mine = ++asking;
    if (before != null) query.set("before", before);
    for (const name of ["kind", "who", "interval"]) if ($(`explorer-${name}`).value !== "") query.set(name, $(`explorer-${name}`).value);
    try {
      const page = await ask("", query);
      if (mine !== asking) return;
      next = page.next;
      $("explorer-older").disabled = next == null;
      $("explorer-newest").disabled = before == null;
      refill($("entries"), page.entries.length ? page.entries.map((line) => row(line, line.interval == null ? "" : `interval ${line.interval}`)) : [make("li", { class: "dim" }, "No entry is like this.")], JSON.stringify([page.entries, opened]));
      const credits = page.balances.flatMap((of) => [make("dt", {}, of.asset === "energy" ? of.owner : `${of.owner}, ${of.asset}`), make("dd", {}, `${Format.count(Number(of.milliwatt_hours))} mWh`)]);
      refill($("credits"), credits, JSON.stringify(page.balances));
      tell(page.last == null ? "The ledger has no entry yet." : `Entries ${Format.count(page.first)} to ${Format.count(page.last)} can be looked at here; gridrig ledger show has all.`);
    } catch (e) { if (mine === asking) tell(e.message); }
  }

  function show(found) {
    const line = found.line, groups = [];
    const others = new Set(found.related.map((r) => r.kind));
    for (const [kind, title] of [...KINDS, ...[...others].filter((k) => !KINDS.some(([known]) => known === k)).map((k) => [k, k])]) {
      const of = found.related.filter((r) => r.kind === kind);
      if (!of.length) continue;
      // What is about the same participant or device comes first.
      of.sort((a, b) => Number(b.who === line.who && line.who != null) - Number(a.who === line.who && line.who != null) || a.clock - b.clock);
      groups.push(make("h3", {}, `${title} (${of.length})`), make("ol", { class: "list", "data-kind": kind }, ...of.map((r) => row(r, r.relation === "interval" ? "" : r.relation))));
    }
    const title = make("h3", { tabindex: "-1", id: "entry-title" }, `${line.kind} ${line.clock}: ${line.text}`);
    const pairs = make("dl", { class: "pairs" }, ...[["said by", found.entry.author], ["at", line.utc], ["interval", line.interval ?? "–"], ["identity", line.atom]].flatMap(([name, value]) => [make("dt", {}, name), make("dd", { class: name === "identity" ? "mono" : null }, value)]));
    const prove = make("p", { class: "dim" }, "A proof that stands alone: ", make("code", {}, `gridrig ledger prove out/${found.run} clock:${line.clock} --with-dependencies --out ${line.clock}.tproof`));
    const whole = make("details", {}, make("summary", {}, "All of it"), make("pre", { tabindex: "0" }, JSON.stringify(found.entry, null, 1)));
    if (found.left_off) groups.push(make("p", { class: "dim" }, `${found.left_off} more are not listed.`));
    $("entry").replaceChildren(title, pairs, ...groups, prove, whole);
    $("entry").dataset.kind = line.kind;
    $("entry").dataset.clock = line.clock;
    title.focus({ preventScroll: true });
  }

  async function open(atom) {
    $("explorer").open = true;
    opened = atom;
    try { show(await ask(`/${encodeURIComponent(atom)}`, new URLSearchParams())); } catch (e) { tell(e.message); }
    if ($("entry").getBoundingClientRect().top < 60 || $("entry").getBoundingClientRect().top > innerHeight - 120) $("explorer").scrollIntoView({ block: "start" });
    list();
  }

  $("explorer").addEventListener("toggle", () => { if ($("explorer").open) list(); });
  $("explorer-form").addEventListener("submit", (e) => { e.preventDefault(); before = null; list(); });
  for (const name of ["kind", "who", "interval"]) $(`explorer-${name}`).addEventListener("change", () => { before = null; list(); });
  $("explorer-older").addEventListener("click", () => { if (next != null) { before = next; list(); } });
  $("explorer-newest").addEventListener("click", () => { before = null; list(); });
  $("past-run").addEventListener("change", () => { before = null; opened = null; $("entry").replaceChildren(); if ($("explorer").open) list(); });
  setInterval(() => { if ($("explorer").open && before == null && !run()) list(); }, EVERY_MS);
  return { open };
})();
