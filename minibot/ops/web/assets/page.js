"use strict";
// The page of a run: figures come by one stream, tables of the past every five seconds.
const API = "/api/v1";
const at = (id) => document.getElementById(id);
const NONE = "-";
let live = null;
let heardMs = 0;

function clock(ms) {
  return ms === null || ms === undefined ? NONE : new Date(ms).toISOString().slice(11, 19);
}
function amount(text, places = 2) {
  if (text === null || text === undefined) return NONE;
  return Number(text).toLocaleString("en", { minimumFractionDigits: places, maximumFractionDigits: Math.max(places, 2) });
}
function price(text) {
  if (text === null || text === undefined) return NONE;
  const [whole, rest = ""] = String(text).split(".");
  const places = Math.max(2, rest.replace(/0+$/, "").length);
  return Number(text).toLocaleString("en", { minimumFractionDigits: places, maximumFractionDigits: places });
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
// Rows are texts, or [text, class].
function table(id, head, rows, none) {
  const body = document.createElement("tbody");
  for (const row of rows) {
    const line = document.createElement("tr");
    for (const each of row) line.append(Array.isArray(each) ? cell("td", each[0], each[1]) : cell("td", each));
    body.append(line);
  }
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
  if (live.is_stale) return `no news of this run for ${Math.round(live.status_age_ms / 1000)} s: its launcher stands still or is gone`;
  const notices = [];
  if (live.risk.is_halted) notices.push("halted: no new entries");
  if (live.entry_stops) notices.push(live.entry_stops);
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
  const age = live.market_ms === null ? null : Math.max(0, live.now_ms - live.market_ms);
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
      const exits = live.exits[name] || {};
      return [name, price(each.price ?? each.mark), each.entry === null ? NONE : String(Number(each.qty)), price(each.entry),
        price(exits.stop ?? null), price(exits.target ?? null), [amount(each.unrealised), tone(each.unrealised)], [amount(each.realised), tone(each.realised)]];
    }), "no price yet");
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
    ["entries", live.risk.is_halted ? "halted" : "allowed", live.risk.is_halted ? "bad" : ""],
  ]);
  table("headroom", ["limit", "left"], Object.entries(live.risk.headroom || {}).map(([name, left]) => [name.replaceAll("_", " "), left]), "not told yet");
  const ms = (us) => us ? `${(us / 1000).toFixed(1)} ms` : NONE;
  figures("speed", [
    ["exchange", ms(live.latency.exchange_us)],
    ["tick to result p50", ms(live.latency.tick_to_result_us_p50)],
    ["tick to result p95", ms(live.latency.tick_to_result_us_p95)],
    ["ticks", live.counts.ticks.toLocaleString("en")],
    ["signals", live.counts.signals.toLocaleString("en")],
    ["fills", live.counts.fills.toLocaleString("en")],
  ]);
  table("roles", ["role", "state", "restarts", "backlog"], Object.entries(live.roles).map(([role, each]) =>
    [role, [each.running ? each.state : "ended", each.running || live.ended ? "" : "bad"], String(each.restarts), String(each.backlog)]), "none");
  options("symbol", names);
  options("act-symbol", names);
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
const WIDE = 800, HIGH = 260, EDGE = 24;
function node(name, attributes, text) {
  const found = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) found.setAttribute(key, value);
  if (text) found.textContent = text;
  return found;
}
function draw(id, points, marks, label, shown = price) {
  const picture = at(id);
  picture.setAttribute("viewBox", `0 0 ${WIDE} ${HIGH}`);
  if (points.length < 2) {
    picture.replaceChildren(node("text", { x: EDGE, y: HIGH / 2 }, "too few prices yet"));
    return;
  }
  // One point for each column of the picture: its lowest and highest value.
  const first = points[0][0], span = points[points.length - 1][0] - first || 1;
  let low = Infinity, high = -Infinity;
  const columns = new Map();
  for (const [ts, text] of points) {
    const value = Number(text);
    low = Math.min(low, value);
    high = Math.max(high, value);
    const column = Math.round((ts - first) / span * (WIDE - 2 * EDGE));
    const kept = columns.get(column);
    if (kept) { kept[0] = Math.min(kept[0], value); kept[1] = Math.max(kept[1], value); kept[2] = value; }
    else columns.set(column, [value, value, value]);
  }
  const y = (value) => HIGH - EDGE - (value - low) / (high - low || 1) * (HIGH - 2 * EDGE);
  let path = "";
  for (const [column, [least, most, last]] of columns) {
    const x = EDGE + column;
    path += `${path ? "L" : "M"}${x} ${y(least).toFixed(1)}L${x} ${y(most).toFixed(1)}L${x} ${y(last).toFixed(1)}`;
  }
  const parts = [node("path", { d: path, class: "line" })];
  for (const mark of marks) {
    const x = EDGE + (mark.ts - first) / span * (WIDE - 2 * EDGE);
    if (x < EDGE || x > WIDE - EDGE) continue;
    const made = node("circle", { cx: x, cy: y(Number(mark.price)), r: 5, class: mark.side === "BUY" ? "buy" : "sell" });
    made.append(node("title", {}, `${mark.side} ${Number(mark.qty)} at ${price(mark.price)}, ${clock(mark.ts)}; minibot explain ${mark.id}`));
    parts.push(made);
  }
  parts.push(node("text", { x: EDGE, y: 14 }, `${label}  ${shown(high)}`), node("text", { x: EDGE, y: HIGH - 6 }, `${shown(low)}  from ${clock(first)} to ${clock(first + span)} UTC`));
  picture.replaceChildren(...parts);
}
async function charts() {
  const symbol = at("symbol").value;
  if (!symbol || at("chart").hidden) return;
  const [found, money] = await Promise.all([ask(`chart?symbol=${encodeURIComponent(symbol)}`), ask("equity")]);
  if (found) draw("prices", found.prices, found.fills, symbol);
  if (money) draw("equity", money.equity, [], "equity", amount);
  if (found) table("fills", ["time", "side", "quantity", "price"], found.fills.slice().reverse().map((mark) => [clock(mark.ts), mark.side, String(Number(mark.qty)), price(mark.price)]), "no fill yet");
}
async function past() {
  const [trades, incidents] = await Promise.all([ask("trades?limit=500"), ask("incidents")]);
  if (trades) table("trades", ["symbol", "opened", "closed", "entry", "exit", "net"], trades.trades.slice().reverse().map((each) =>
    [each.pair, clock(each.opened_ts), clock(each.closed_ts), price(each.entry_price), price(each.exit_price), [amount(each.net), tone(each.net)]]), "none yet");
  if (incidents) table("incidents", ["time", "kind", ["what happened", "text"]], incidents.incidents.slice().reverse().map((each) => [clock(each.ts), each.kind, [each.detail, "text"]]), "none");
  await charts();
}
async function ask(path) {
  try {
    const answer = await fetch(`${API}/${path}`);
    if (answer.status === 401) { locked(); return null; }
    return answer.ok ? await answer.json() : null;
  } catch { return null; }
}

// --- orders -----------------------------------------------------------------------------------
async function act(button) {
  const kind = button.dataset.act;
  if (button.dataset.confirm && !confirm(button.dataset.confirm)) return;
  const body = { why: at("reason").value, symbol: null, minutes: null };
  if (kind.endsWith("_symbol") || kind === "exit_position") body.symbol = at("act-symbol").value;
  button.disabled = true;
  try {
    const answer = await fetch(`${API}/act/${kind}`, { method: "POST", headers: { "content-type": "application/json", "x-minibot": "page" }, body: JSON.stringify(body) });
    const said = await answer.json();
    at("notice").textContent = answer.ok ? `${said.status}.` : said.detail;
  } catch {
    at("notice").textContent = "the page's process does not answer; use the verbs in a terminal";
  } finally {
    button.disabled = false;
  }
}

// --- start ------------------------------------------------------------------------------------
function locked() {
  at("login").hidden = false;
  at("main").hidden = true;
  at("state").textContent = "LOCKED";
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
}
function listen() {
  const stream = new EventSource(`${API}/stream`);
  stream.onmessage = (event) => { live = JSON.parse(event.data); heardMs = Date.now(); show(); };
  stream.onerror = () => { if (Date.now() - heardMs > 5000) at("notice").textContent = "no answer from the page's process since " + clock(heardMs) + "; the run goes on by itself"; };
  stream.onopen = () => { if (at("notice").textContent.startsWith("no answer")) at("notice").textContent = ""; };
}
async function begin() {
  const tabs = [...document.querySelectorAll("[role=tab]")];
  tabs.forEach((tab, place) => {
    tab.addEventListener("click", () => choose(tab));
    tab.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (step) choose(tabs[(place + step + tabs.length) % tabs.length]);
    });
  });
  for (const button of document.querySelectorAll("[data-act]")) button.addEventListener("click", () => act(button));
  at("symbol").addEventListener("change", charts);
  await arrive();
}
async function arrive() {
  const first = await ask("live");
  if (first === null) {
    if (at("login").hidden) setTimeout(arrive, 1000);
    return;
  }
  live = first;
  at("main").hidden = false;
  show();
  listen();
  past();
  setInterval(past, 5000);
}
begin();
