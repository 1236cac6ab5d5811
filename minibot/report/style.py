"""Style sheet of every page: one column on a phone, dark where the reader's system is, and print.

Up to `CARDS_PX` each row of a table of many columns is a card, up to `PHONE_PX` pictures are those
of a phone.
"""

from __future__ import annotations

from typing import Final

CARDS_PX: Final = 990
PHONE_PX: Final = 600
# Colour strength of the five steps of a heat table, percent.
HEAT: Final = (12, 24, 36, 50, 64)
_HEAT_RULES: Final = "".join(
    f".heat td.{side}{step} {{ background: color-mix(in srgb, var(--{colour}) {share}%, "
    "transparent); }\n"
    for side, colour in (("up", "good"), ("down", "bad"))
    for step, share in enumerate(HEAT, start=1)
)
# Colours of a strategy's lines, on white and on black; distinct for most of the colour-blind.
LINES: Final = (
    ("#1f5fbf", "#7db1ff"),
    ("#b8730f", "#e0a458"),
    ("#7b3fb5", "#c79bf2"),
    ("#0f8a8a", "#58c9c9"),
    ("#b53f7b", "#f29bc7"),
    ("#5b7a12", "#a9c95a"),
    ("#6b5b4b", "#c4b29e"),
    ("#45536b", "#a5b4cf"),
)
_LIGHT_LINES: Final = " ".join(f"--line-{n}: {one};" for n, (one, _) in enumerate(LINES, 1))
_DARK_LINES: Final = " ".join(f"--line-{n}: {one};" for n, (_, one) in enumerate(LINES, 1))
_LINE_RULES: Final = "".join(
    f"svg .line-{n} {{ stroke: var(--line-{n}); }} .legend .line-{n}::before {{ "
    f"background: var(--line-{n}); }}\n"
    for n in range(1, len(LINES) + 1)
)

_COLOURS: Final = f"""
:root {{ color-scheme: light dark; --ink: #1b1f24; --soft: #5d6770; --line: #d9dee3;
  --paper: #ffffff; --panel: #f5f7f9; --good: #1a7f4b; --bad: #b3261e; --curve: #1f5fbf;
  --other: #a8650a; {_LIGHT_LINES} }}
@media screen and (prefers-color-scheme: dark) {{ :root {{ --ink: #e6e9ec; --soft: #a2acb5;
  --line: #343b42; --paper: #14181c; --panel: #1c2227; --good: #55c58c; --bad: #f2857d;
  --curve: #7db1ff; --other: #e0a458; {_DARK_LINES} }} }}
@media print {{ :root {{ color-scheme: light; }} }}
"""

_RULES: Final = """
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; text-size-adjust: 100%; }
body { margin: 0 auto; max-width: 1040px; padding: 28px 20px 60px; background: var(--paper);
  color: var(--ink); font: 15px/1.5 system-ui, "Segoe UI", Roboto, sans-serif; }
h1 { margin: 0; font-size: 26px; line-height: 1.25; }
h1 small { color: var(--soft); font-size: 18px; font-weight: 400; }
h2 { margin: 34px 0 10px; font-size: 17px; } h3 { margin: 16px 0 4px; font-size: 15px; }
p { margin: 8px 0; }
.badge { display: inline-block; margin: 2px 0; padding: 1px 10px; border: 1px solid var(--line);
  border-radius: 11px; color: var(--soft); font-size: 13px; }
.badge.bad { color: var(--bad); border-color: var(--bad); }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(180px, 1fr)); gap: 10px;
  margin-top: 14px; }
.tile { padding: 10px 12px; border-radius: 8px; background: var(--panel); }
.tile b { display: block; font-size: 19px; white-space: nowrap; }
.tile span { display: block; color: var(--soft); font-size: 12px; line-height: 1.35; }
.good { color: var(--good); } .bad { color: var(--bad); } .soft { color: var(--soft); }
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums;
  font-size: 14px; }
th { color: var(--soft); font-weight: 600; text-align: left; }
th, td { padding: 4px 14px 4px 0; border-bottom: 1px solid var(--line); vertical-align: top; }
th:last-child, td:last-child { padding-right: 0; }
td.n, span.n { white-space: nowrap; } th.r, td.r { text-align: right; }
.figures th:not(:first-child), .figures td:not(:first-child) { text-align: right; }
.words td:first-child { width: 120px; color: var(--soft); white-space: nowrap; }
.words th { padding-top: 14px; }
.heat { font-size: 12px; } .heat td, .heat th { padding: 4px 5px; text-align: right; }
.heat td { white-space: nowrap; } .heat th:first-child { text-align: left; }
code { font-size: 13px; white-space: nowrap; }
.hash { font: 12px/1.5 ui-monospace, monospace; word-break: break-all; }
summary { cursor: pointer; padding: 6px 0; } details details { margin-left: 18px; }
details.machine { margin-top: 34px; border-top: 1px solid var(--line); }
details.machine > summary { padding: 12px 0; font-size: 17px; font-weight: 600; }
.verdict { margin: 0 0 4px; font-size: 17px; } .verdict b { margin-right: 6px; }
.pnl { margin-top: 14px; } .pnl table { max-width: 420px; }
.pnl label { margin: 0 16px 0 4px; color: var(--soft); font-size: 13px; }
.pnl .total td { font-weight: 600; }
#no-slippage:checked ~ table .slippage, #no-fees:checked ~ table .fees { display: none; }
.pair { display: grid; gap: 4px 40px;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 380px), 1fr)); }
.pair td:last-child { text-align: right; white-space: nowrap; }
.legend span { display: inline-block; margin-right: 16px; font-size: 13px; color: var(--soft); }
.legend span::before { content: ""; display: inline-block; width: 18px; height: 3px;
  margin: 0 6px 4px 0; }
.plot { margin: 4px 0 8px; } svg { display: block; width: 100%; height: auto; }
svg.plot-narrow { display: none; }
svg text { fill: var(--soft); font-size: 12px; font-variant-numeric: tabular-nums; }
svg .inside, svg .number { paint-order: stroke; stroke: var(--paper); stroke-width: 3px;
  stroke-linejoin: round; }
svg .number { font-size: 11px; }
svg .grid { stroke: var(--line); stroke-width: 1; }
svg .equity { fill: none; stroke: var(--curve); stroke-width: 1.6; stroke-linejoin: round; }
svg .drawdown { fill: var(--bad); fill-opacity: .25; stroke: var(--bad); stroke-width: 1; }
svg .won { fill: var(--good); } svg .lost { fill: var(--bad); }
svg .way { fill: none; stroke: var(--bad); stroke-width: 1; stroke-dasharray: 3 2; }
svg .way.up { stroke: var(--good); }
svg .band { fill: var(--curve); fill-opacity: .16; }
svg .price, svg .wick { fill: none; stroke: var(--soft); stroke-width: 1.1; }
svg .range { fill: var(--soft); fill-opacity: .28; }
svg .rise { fill: var(--soft); fill-opacity: .35; stroke: var(--soft); stroke-width: .6; }
svg .fall { fill: var(--soft); }
svg .line { fill: none; stroke-width: 1.5; stroke-linejoin: round; }
svg .entry { fill: var(--curve); } svg .tip { fill: transparent; }
svg .exposure { fill: var(--curve); fill-opacity: .3; stroke: var(--curve); stroke-width: 1; }
svg .paid { fill: var(--bad); fill-opacity: .14; }
svg .dots { fill: none; stroke-width: 3.4; stroke-linecap: round; stroke: var(--soft); }
svg .dots.hold { stroke-opacity: .45; stroke-width: 2.4; }
svg .dots.up { stroke: var(--good); } svg .dots.down { stroke: var(--bad); }
svg .dots.buy { stroke: var(--curve); } svg .dots.sell { stroke: var(--other); }
"""

_NARROW_RULES: Final = f"""
@media screen and (max-width: {CARDS_PX}px) {{
  .cards, .cards tbody, .heat, .heat tbody {{ display: block; }}
  .cards thead, .heat thead {{ display: none; }}
  .cards tr {{ display: grid; grid-auto-flow: dense; gap: 0 18px; padding: 8px 0;
    border-bottom: 1px solid var(--line);
    grid-template-columns: repeat(auto-fill, minmax(min(150px, 45%), 1fr)); }}
  .cards td, .figures.cards td:not(:first-child) {{ display: flex; justify-content: space-between;
    gap: 10px; padding: 1px 0; border: 0; text-align: right; }}
  .cards td[data-l]::before {{ content: attr(data-l); color: var(--soft); font-size: 13px;
    text-align: left; white-space: nowrap; }}
  .cards td.w {{ grid-column: 1 / -1; }}
  .cards td:first-child {{ order: -2; grid-column: 1 / -1; justify-content: flex-start;
    font-weight: 600; text-align: left; }}
  .cards td:first-child.led {{ grid-column: 1; }}
  .cards td.net {{ order: -1; grid-column: 2; font-weight: 600; }}
  .cards td:empty, .figures.cards td:empty:not(:first-child), .heat td:empty {{ display: none; }}
  .heat tr {{ display: grid; grid-template-columns: repeat(auto-fill, minmax(84px, 1fr));
    padding-bottom: 8px; }}
  .heat th {{ grid-column: 1 / -1; border: 0; }}
  .heat td::before {{ content: attr(data-l); float: left; opacity: .75; }}
}}
@media screen and (max-width: {PHONE_PX}px) {{
  body {{ padding: 16px 14px 40px; }}
  h1 {{ font-size: 21px; }} h1 small {{ display: block; font-size: 15px; }}
  h2 {{ margin-top: 26px; }}
  .tiles {{ grid-template-columns: repeat(auto-fit, minmax(96px, 1fr)); gap: 8px; }}
  .tile {{ padding: 8px 10px; }} .tile b {{ font-size: 16px; }}
  svg.plot-wide {{ display: none; }} svg.plot-narrow {{ display: block; }}
  svg text {{ font-size: 11px; }}
  details details {{ margin-left: 6px; }}
  .hashes, .hashes tbody, .hashes tr, .hashes td {{ display: block; padding: 0; }}
  .hashes thead {{ display: none; }} .hashes td:first-child {{ border: 0; padding-top: 6px; }}
  .words, .words tbody, .words tr, .words td {{ display: block; }}
  .words td {{ border: 0; padding: 0; }} .words td:first-child {{ width: auto; padding-top: 6px;
    font-size: 13px; }} .words td:last-child {{ padding-bottom: 6px;
    border-bottom: 1px solid var(--line); }}
}}
"""

_PRINT_RULES: Final = """
@media print {
  * { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
  body { max-width: none; padding: 0; font-size: 10pt; }
  table { font-size: 7.5pt; } th, td { padding: 2px 7px 2px 0; }
  .heat { font-size: 6pt; } .heat th, .heat td { padding: 2px 1px; } .hash { font-size: 7pt; }
  h2, h3, summary { break-after: avoid; } tr, svg, .tile { break-inside: avoid; }
  thead { display: table-header-group; } .wide { overflow: visible; }
  .tile { border: 1px solid var(--line); } .pnl input, .pnl label { display: none; }
}
"""

STYLE: Final = _COLOURS + _RULES + _LINE_RULES + _HEAT_RULES + _NARROW_RULES + _PRINT_RULES
