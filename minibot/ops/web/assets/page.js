"use strict";
// The page of a run: figures come by one stream, tables of the past every five seconds.
const API = "/api/v1";
const at = (id) => document.getElementById(id);
const NONE = "-";
// Silence from which nothing is known of the run: its page says something each second.
const SILENT_MS = 5000;
// How long a table and an explanation may take, which goes back over the run.
const TABLE_MS = 30000;
const EXPLAIN_MS = 600000;
// A command as it works for this run: with the folder of a run that is not in the default one.
const verb = (words) => `minibot ${words}${document.body.dataset.flags}`;
let live = null;
// When figures came, and when anything did.
let heardMs = 0;
let beatMs = 0;

function clock(ms) {
  return ms === null || ms === undefined ? NONE : new Date(ms).toISOString().slice(11, 19);
}
// A position that was carried, or held over midnight, was opened on another day than it was closed.
function opened(trade) {
  const [opening, closing] = [whenOf(trade.opened_ts), whenOf(trade.closed_ts)];
  return opening.slice(0, 10) === closing.slice(0, 10) ? clock(trade.opened_ts) : opening;
}
function amount(text, places = 2) {
  if (text === null || text === undefined) return NONE;
  const value = Number(text), most = Math.max(places, 2);
  // A loss never reads as zero.
  const isTiny = value !== 0 && Math.abs(value) < 0.5 / 10 ** most;
  return value.toLocaleString("en", { minimumFractionDigits: places, maximumFractionDigits: isTiny ? 8 : most });
}
function quantity(text) {
  return Number(text).toLocaleString("en", { maximumFractionDigits: 8 });
}
function price(text) {
  if (text === null || text === undefined) return NONE;
  // A number below a millionth would be written with an exponent.
  const [, rest = ""] = (typeof text === "number" ? text.toFixed(8) : text).split(".");
  const places = Math.max(2, rest.replace(/0+$/, "").length);
  return Number(text).toLocaleString("en", { minimumFractionDigits: places, maximumFractionDigits: places });
}
// An average of several fills: eight digits, where its quotient has more than the market's prices.
function average(text) {
  if (text === null || text === undefined) return NONE;
  const whole = String(text).split(".")[0];
  return price(Number(text).toFixed(whole === "0" ? 8 : Math.max(2, 8 - whole.length)));
}
function tone(text) {
  const value = Number(text);
  return value > 0 ? "good" : value < 0 ? "bad" : "";
}
function cell(kind, text, style = "") {
  const found = document.createElement(kind);
  found.textContent = text;
  if (style) found.className = style;
  return found;
}
// Rows are texts, or [text, class]. On a phone a row of more than three cells is a card of pairs.
function table(id, head, rows, none) {
  const names = head.map((each) => Array.isArray(each) ? each[0] : each);
  const body = document.createElement("tbody");
  for (const row of rows) {
    const line = document.createElement("tr");
    for (const each of row) line.append(each instanceof Node ? each : Array.isArray(each) ? cell("td", each[0], each[1]) : cell("td", each));
    for (const [number, made] of [...line.cells].entries()) made.dataset.name = names[number];
    body.append(line);
  }
  at(id).classList.toggle("cards", rows.length > 0 && head.length > 3);
  const top = document.createElement("thead");
  const line = document.createElement("tr");
  for (const each of head) {
    const made = Array.isArray(each) ? cell("th", each[0], each[1]) : cell("th", each);
    made.scope = "col";
    line.append(made);
  }
  top.append(line);
  if (rows.length) at(id).replaceChildren(top, body);
  else at(id).replaceChildren(captioned(none));
}
function captioned(text) {
  const body = document.createElement("tbody");
  const line = document.createElement("tr");
  line.append(cell("td", text, "text"));
  body.append(line);
  return body;
}
function figures(id, rows) {
  at(id).replaceChildren(...rows.map(([name, text, style]) => {
    const box = document.createElement("div");
    box.append(cell("dt", name), cell("dd", text, style || ""));
    return box;
  }));
}

function verdict() {
  if (live.ended) return `${live.ended.kind === "STOP" ? "STOPPED" : "ended in order"} by ${live.ended.reason_code}: ${live.ended.detail}`;
  if (live.is_stale) return `no news of this run for ${Math.round(live.status_age_ms / 1000)} s: its launcher or its page stands still or is gone`;
  const notices = [...live.barred];
  if (live.ai.off) notices.push("AI off");
  for (const [role, each] of Object.entries(live.roles)) if (each.restarts) notices.push(`${role} restarted ${each.restarts} times`);
  return notices.length ? notices.join("; ") : "all is well so far";
}
function order(symbols) {
  const rank = (name) => { const found = live.ranked.indexOf(name); return found < 0 ? 1e9 : found; };
  return Object.keys(symbols).sort((a, b) =>
    (symbols[a].entry === null) - (symbols[b].entry === null) || rank(a) - rank(b) || a.localeCompare(b));
}
function show() {
  const asset = live.quote_asset || "";
  const result = live.result || {};
  const state = live.ended ? (live.ended.kind === "STOP" ? "STOPPED" : "ENDED") : live.is_stale ? "NO NEWS" : live.phase.toUpperCase();
  at("state").textContent = state;
  at("state").className = state === "RUNNING" ? "good" : state === "STOPPED" || state === "NO NEWS" ? "bad" : "";
  at("title").textContent = `${live.profile}, run ${live.run_id}, ${live.simulated ? "simulated data" : "real market data"}, paper`;
  at("clock").textContent = `${clock(live.now_ms)} UTC`;
  document.title = `${state} ${amount(result.pnl)} ${asset} - minibot`;
  at("verdict").textContent = verdict();
  // The status that would tell how old prices are is old itself.
  const age = live.price_ms === null || live.is_stale ? null : Math.max(0, live.now_ms - live.price_ms);
  figures("account", [
    ["result", `${amount(result.pnl)} ${asset}`, tone(result.pnl)],
    ["equity", amount(live.risk.equity)],
    ["drawdown", `${amount(live.risk.drawdown_bps, 1)} bps`],
    ["trades", `${result.trades ?? 0} (${result.wins ?? 0} won)`],
    ["fees", amount(result.fees)],
    ["open orders", String(live.open_orders)],
    ["age of prices", age === null ? NONE : `${(age / 1000).toFixed(1)} s of market time`],
  ]);
  const names = order(live.symbols);
  table("symbols", ["symbol", "price", "position", "entry", "stop", "target", "unrealised", "realised"],
    names.map((name) => {
      const each = live.symbols[name];
      // Risk hears of a sale a moment before or after the books: a symbol that is flat has no levels.
      const exits = (each.entry !== null && live.exits[name]) || {};
      return [name, price(each.price ?? each.mark), each.entry === null ? NONE : quantity(each.qty), average(each.entry),
        price(exits.stop ?? null), price(exits.target ?? null), [amount(each.unrealised), tone(each.unrealised)], [amount(each.realised), tone(each.realised)]];
    }), "no figures yet");
  at("why-title").textContent = live.ended ? "Last decisions" : "Why no trade right now";
  table("why", ["symbol", "since", ["decision", "text"], ["nearest condition that fails", "text"]],
    names.filter((name) => live.decisions[name]).map((name) => {
      const said = live.decisions[name];
      return [name, clock(said.ts), [said.reason, "text"], [lacking(said.against), "text"]];
    }), live.reason || "no decision yet");
  figures("standing", [
    ["account", live.risk.account || "no tiers"],
    ["exposure", amount(live.risk.exposure)],
    ["highest equity", amount(live.risk.high_water_mark)],
    ["drawdown", `${amount(live.risk.drawdown)} ${asset}`],
    ...(live.risk.account_drawdown_bps ? [
      ["account's highest equity", amount(live.risk.account_high_water_mark)],
      ["account's drawdown", `${amount(live.risk.account_drawdown_bps, 1)} bps`],
    ] : []),
    ["entries", live.risk.entries ?? NONE, live.risk.entries && live.risk.entries !== "allowed" ? "bad" : ""],
  ]);
  table("locks", ["entries of", ["reason", "text"], "until", "left"], live.locks.map((lock) =>
    [lock.scope === "*" ? "all symbols" : lock.scope, [lock.reason_code, "text"],
      ...(lock.until_ts === null ? ["the run's end", NONE] : [clock(lock.until_ts), `${Math.ceil(lock.left_ms / 1000)} s`])]), "none");
  table("headroom", ["limit", "left"], Object.entries(live.risk.headroom || {}).map(([name, left]) => headroom(name, left, asset)), "not told yet");
  const ms = (us) => us ? `${(us / 1000).toFixed(1)} ms` : NONE;
  figures("speed", [
    ["ticks", live.counts.ticks.toLocaleString("en")],
    ["signals", live.counts.signals.toLocaleString("en")],
    ["fills", live.counts.fills.toLocaleString("en")],
  ]);
  table("hops", ["hop", "now", "p50", "p95", "p99"], [
    ["exchange, there and back", ms(live.latency.exchange_us), NONE, NONE, NONE],
    ["tick read to order result", NONE, ms(live.latency.tick_to_result_us_p50), ms(live.latency.tick_to_result_us_p95), ms(live.latency.tick_to_result_us_p99)],
    ["age of prices (market time)", age === null ? NONE : `${age} ms`, NONE, NONE, NONE],
    ["status to this page", live.is_record ? NONE : `${live.status_age_ms} ms`, NONE, NONE, NONE],
  ], "none");
  table("roles", ["role", "state", "restarts", "backlog"], Object.entries(live.roles).map(([role, each]) =>
    [role, [each.running ? each.state : "ended", each.running || live.ended ? "" : "bad"], String(each.restarts), String(each.backlog)]), "none");
  options("symbol", names);
  options("act-symbol", names);
  at("tab-act").hidden = live.is_record;
}
// All limits are money but two, whose names say what they count.
function headroom(name, left, asset) {
  const counted = name.replaceAll("_", " ");
  if (name.endsWith("_bps")) return [counted.replace(/ bps$/, ""), `${amount(left, 1)} bps`];
  return [counted, name.endsWith("_per_minute") ? left : `${amount(left)} ${asset}`];
}
function lacking(against) {
  if (!against) return NONE;
  const gap = Number(String(against.threshold).replace(/^[<>=]+ */, "")) - Number(against.value);
  const far = Number.isFinite(gap) && gap !== 0 ? ` (${gap > 0 ? "+" : ""}${Number(gap.toPrecision(4))} to go)` : "";
  return `${against.name}: ${against.value}, needs ${against.threshold}${far}`;
}
function options(id, names) {
  const list = at(id);
  if ([...list.options].map((each) => each.value).join() === names.join()) return;
  const chosen = list.value;
  list.replaceChildren(...names.map((name) => new Option(name, name, false, name === chosen)));
}

// --- charts -----------------------------------------------------------------------------------
const ROWS_MAX = 500;
const views = {};
let priced = { symbol: "", prices: [], stops: [] };
let money = [];
function behind(points) { return points.length ? points[points.length - 1][0] : 0; }
function newest(points) { return points.slice(-ROWS_MAX).reverse(); }
async function charts() {
  const symbol = at("symbol").value;
  if (!symbol || at("chart").hidden) return;
  if (priced.symbol !== symbol) {
    priced = { symbol, prices: [], stops: [] };
    views.prices.reset();
  }
  const kept = priced;
  const since = Math.max(behind(kept.prices), 0), equitySince = behind(money);
  const [found, gained] = await Promise.all([ask(`chart?symbol=${encodeURIComponent(symbol)}&since=${since}`), ask(`equity?since=${equitySince}`)]);
  if (found && kept === priced && behind(kept.prices) === since) {
    for (const each of found.prices) kept.prices.push(each);
    for (const each of found.stops) if (each[0] > behind(kept.stops)) kept.stops.push(each);
    const marks = [
      ...found.fills.map((mark) => ({ ...mark, style: mark.side === "BUY" ? "good" : "bad", kind: `fill: ${mark.side}`, words: `${quantity(mark.qty)} at ${price(mark.price)}` })),
      ...found.signals.map((mark) => ({ ...mark, style: mark.side === "BUY" ? "good" : "bad", kind: `signal: ${mark.side}` })),
      ...found.exits.map((mark) => ({ ...mark, style: "accent", isLow: true, kind: "exit by risk" })),
    ];
    views.prices.show(symbol, [{ points: kept.prices, style: "accent" }, { points: kept.stops, style: "bad" }], marks, found.gaps);
    const rows = [...marks, ...found.gaps.map((gap) => ({ ...gap, kind: "gap" }))].sort((a, b) => b.ts - a.ts).slice(0, ROWS_MAX);
    table("marks", ["time", ["mark", "text"], ["what", "text"]], rows.map((mark) => [clock(mark.ts), [mark.kind, "text"], [mark.words, "text"]]), "none yet");
    const stops = new Map(kept.stops);
    table("price-table", ["time", "price", "stop"], newest(kept.prices).map(([ts, value]) => [clock(ts), price(value), price(stops.get(ts) ?? null)]), "no price yet");
  }
  if (gained && behind(money) === equitySince) {
    for (const each of gained.equity) money.push(each);
    views.equity.show("equity", [{ points: money, style: "accent" }]);
    table("equity-table", ["time", "equity"], newest(money).map(([ts, value]) => [clock(ts), amount(value)]), "none yet");
  }
}
async function explain(ts) {
  at("second").value = clock(ts);
  const shown = at("explained");
  shown.hidden = false;
  shown.textContent = `going back to ${clock(ts)} ...`;
  const answer = await call(`explain?ts=${ts}&symbol=${encodeURIComponent(at("symbol").value)}`, EXPLAIN_MS);
  shown.textContent = answer ? (answer.lines || [answer.detail]).join("\n") : "no answer";
}
function explainTyped(event) {
  event.preventDefault();
  const [hours, minutes, seconds] = at("second").value.split(":").map(Number);
  // The first such second of the run.
  const day = Math.floor(live.origin_ms / 86400000) * 86400000;
  let ts = day + ((hours * 60 + minutes) * 60 + seconds) * 1000;
  if (ts + 999 < live.origin_ms) ts += 86400000;
  explain(ts);
}
async function nights() {
  if (at("nights").hidden) return;
  const found = await ask("nights");
  if (!found) return;
  table("night-table", ["run", "began", "trades", "result", ["ended", "text"], ["report", "text"]], found.nights.map((night) => {
    const report = cell("td", night.has_report ? "" : NONE, "text");
    if (night.has_report) {
      const link = cell("a", "report");
      link.href = `${API}/nights/${encodeURIComponent(night.run_id)}/report`;
      link.target = "_blank";
      link.rel = "noopener";
      report.append(link);
    }
    const began = night.started_ms === null ? NONE : new Date(night.started_ms).toISOString().slice(0, 16).replace("T", " ");
    return [night.run_id, began, String(night.trades ?? NONE), [amount(night.result), tone(night.result)], [`${night.state} ${night.reason_code || ""}`, "text"], report];
  }), "no run yet");
}
async function past() {
  const [trades, incidents] = await Promise.all([ask("trades?limit=500&offset=-500"), ask("incidents")]);
  if (trades) {
    at("trades-shown").hidden = trades.offset === 0;
    at("trades-shown").textContent = `the newest ${trades.trades_count} of ${trades.total_trades}`;
    table("trades", ["trade", "symbol", "net", "quantity", "opened", "closed", "entry", "exit"], trades.trades.slice().reverse().map((each) =>
    [String(each.trade_id), each.pair, [amount(each.net), tone(each.net)], quantity(each.qty), opened(each), clock(each.closed_ts), average(each.entry_price), average(each.exit_price)]), "none yet");
  }
  if (incidents) table("incidents", ["time", "kind", ["what happened", "text"]], incidents.incidents.slice().reverse().map((each) => [clock(each.ts), each.kind, [each.detail, "text"]]), "none");
  await Promise.all([charts(), nights()]);
}
// Refusals (409) are requested by an operator and shown; other paths never get one.
async function call(path, waitMs = TABLE_MS) {
  try {
    const answer = await fetch(`${API}/${path}`, { signal: AbortSignal.timeout(waitMs) });
    if (answer.status === 401) { locked(); return null; }
    return answer.ok || answer.status === 409 ? await answer.json() : null;
  } catch { return null; }
}
async function ask(path, waitMs) {
  const found = await call(path, waitMs);
  return found && found.detail === undefined ? found : null;
}
async function isOpen() {
  try {
    return (await (await fetch("/session", { signal: AbortSignal.timeout(SILENT_MS) })).json()).is_open;
  } catch { return null; }
}

// A body of another form is refused by the faults of its fields (422), anything else in a sentence.
function whyNot(said) {
  if (typeof said.detail === "string") return said.detail;
  return said.detail.map((fault) => `${fault.loc[fault.loc.length - 1]}: ${fault.msg}`).join("; ");
}
async function send(path, body, waitMs) {
  return fetch(`${API}/${path}`, {
    method: "POST", headers: { "content-type": "application/json", "x-minibot": "page" }, body: JSON.stringify(body), signal: AbortSignal.timeout(waitMs),
  });
}

// --- orders -----------------------------------------------------------------------------------
async function act(button) {
  const kind = button.dataset.act;
  if (button.dataset.confirm && !confirm(button.dataset.confirm)) return;
  const body = { why: at("reason").value, symbol: null, minutes: null };
  if (kind.endsWith("_symbol") || kind === "exit_position") body.symbol = at("act-symbol").value;
  button.disabled = true;
  try {
    const answer = await send(`act/${kind}`, body, SILENT_MS);
    const said = await answer.json();
    unanswered = "";
    at("notice").textContent = answer.ok ? `${said.status}.` : whyNot(said);
  } catch {
    unanswered = `no answer to "${button.textContent}" from the page's process: look whether it acted, or use the verbs in a terminal`;
    at("notice").textContent = unanswered;
  } finally {
    button.disabled = false;
  }
}

// --- start ------------------------------------------------------------------------------------
const AGAIN_MS = 1000;
const PAST_MS = 5000;
let polling = null;
let stream = null;
// What silent() said last, and the order that got no answer. It stays on the screen when the process is back, until
// an order or a change of settings is answered.
let unheard = "";
let unanswered = "";
function locked() {
  at("login").hidden = false;
  at("main").hidden = true;
  at("state").textContent = "LOCKED";
  if (location.hash === "#refused") at("notice").textContent = `This code is used or too old. Type ${verb("page")} again.`;
}
function choose(tab) {
  for (const each of document.querySelectorAll("[role=tab]")) {
    const chosen = each === tab;
    each.setAttribute("aria-selected", String(chosen));
    each.tabIndex = chosen ? 0 : -1;
    at(each.getAttribute("aria-controls")).hidden = !chosen;
  }
  tab.focus();
  charts();
  nights();
  settings();
}
function silent() {
  if (live && live.ended) unheard = "the run has ended, and its page with it: " + verb("report");
  else unheard = `no answer from the page's process since ${clock(heardMs || Date.now())}; see ${verb("status")}`;
  at("notice").textContent = unanswered ? `${unanswered}; ${unheard}` : unheard;
  if (live === null) return;
  live.is_stale = true;
  live.status_age_ms = Date.now() - heardMs;
  show();
}
function heard(figures) {
  live = figures;
  heardMs = beatMs = Date.now();
}
function answered() {
  if (unheard && at("notice").textContent.endsWith(unheard)) at("notice").textContent = unanswered;
}
function listen() {
  stream = new EventSource(`${API}/stream`);
  stream.onmessage = (event) => { heard(JSON.parse(event.data)); show(); };
  stream.addEventListener("beat", () => { beatMs = Date.now(); });
  stream.onerror = again;
}
// The process may have been started again: ask anew whether this page is open.
function again() {
  stream.close();
  stream = null;
  setTimeout(arrive, AGAIN_MS);
}
// A connection whose other end stands still, or is out of reach, fails by itself only after minutes.
function watch() {
  if (at("main").hidden || live.ended || Date.now() - beatMs <= SILENT_MS) return;
  silent();
  if (stream !== null) again();
}
async function arrive() {
  const open = await isOpen();
  if (open === null) silent();
  else answered();
  if (open === false) { locked(); return; }
  const first = open ? await ask("live", SILENT_MS) : null;
  if (first === null) { setTimeout(arrive, AGAIN_MS); return; }
  heard(first);
  answered();
  at("login").hidden = true;
  at("main").hidden = false;
  show();
  past();
  if (live.is_record) return;
  listen();
  if (polling !== null) return;
  // No request more while none is answered: a browser keeps few connections to one server.
  polling = setInterval(() => { if (stream !== null) past(); }, PAST_MS);
  setInterval(watch, AGAIN_MS);
}
function begin() {
  const tabs = [...document.querySelectorAll("[role=tab]")];
  tabs.forEach((tab) => {
    tab.addEventListener("click", () => choose(tab));
    tab.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      const shown = tabs.filter((each) => !each.hidden);
      if (step) choose(shown[(shown.indexOf(tab) + step + shown.length) % shown.length]);
    });
  });
  for (const button of document.querySelectorAll("[data-act]")) button.addEventListener("click", () => act(button));
  at("symbol").addEventListener("change", charts);
  at("ask").addEventListener("submit", explainTyped);
  at("page-verb").textContent = verb("page");
  beginSettings();
  views.prices = new Chart(at("prices"), explain);
  views.equity = new Chart(at("equity"), null);
  arrive();
}
begin();
