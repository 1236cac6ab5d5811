"""Style sheet of every report."""

from __future__ import annotations

from typing import Final

# Colour strength of the five steps of a heat table, percent.
HEAT: Final = (12, 24, 36, 50, 64)
_HEAT_RULES: Final = "".join(
    f".heat td.{side}{step} {{ background: color-mix(in srgb, var(--{colour}) {share}%, "
    "transparent); }\n"
    for side, colour in (("up", "good"), ("down", "bad"))
    for step, share in enumerate(HEAT, start=1)
)

_RULES: Final = """
:root { color-scheme: light dark; --ink: #1b1f24; --soft: #667079; --line: #d9dee3;
  --paper: #ffffff; --panel: #f5f7f9; --good: #1a7f4b; --bad: #b3261e; --curve: #1f5fbf;
  --other: #b8730f; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ec; --soft: #98a2ab; --line: #343b42;
  --paper: #14181c; --panel: #1c2227; --good: #55c58c; --bad: #f2857d; --curve: #7db1ff;
  --other: #e0a458; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 1040px; padding: 28px 20px 60px; background: var(--paper);
  color: var(--ink); font: 15px/1.5 system-ui, "Segoe UI", Roboto, sans-serif; }
h1 { margin: 0; font-size: 26px; } h1 small { color: var(--soft); font-weight: 400; }
h2 { margin: 34px 0 10px; font-size: 17px; }
.badge { display: inline-block; padding: 1px 10px; border: 1px solid var(--line);
  border-radius: 11px; color: var(--soft); font-size: 13px; }
.badge.bad { color: var(--bad); border-color: var(--bad); }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(110px, 1fr)); gap: 10px;
  margin-top: 18px; }
.tile { padding: 10px 12px; border-radius: 8px; background: var(--panel); }
.tile b { display: block; font-size: 19px; white-space: nowrap; }
.tile span { color: var(--soft); font-size: 12px; }
.good { color: var(--good); } .bad { color: var(--bad); }
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums;
  font-size: 14px; }
th { color: var(--soft); font-weight: 600; text-align: left; }
th, td { padding: 4px 12px 4px 0; border-bottom: 1px solid var(--line); vertical-align: top; }
td { overflow-wrap: anywhere; }
.words td:first-child { width: 120px; color: var(--soft); white-space: nowrap; }
.words th { padding-top: 14px; }
code { font-size: 13px; }
svg { width: 100%; min-width: 640px; height: auto; }
svg text { fill: var(--soft); font-size: 12px; }
svg .grid { stroke: var(--line); stroke-width: 1; }
svg .equity { fill: none; stroke: var(--curve); stroke-width: 1.6; stroke-linejoin: round; }
svg .drawdown { fill: var(--bad); fill-opacity: .25; stroke: var(--bad); stroke-width: 1; }
svg .won { fill: var(--good); } svg .lost { fill: var(--bad); }
svg .band { fill: var(--curve); fill-opacity: .16; }
svg .price, svg .wick { fill: none; stroke: var(--soft); stroke-width: 1.1; }
svg .range { fill: var(--soft); fill-opacity: .28; }
svg .rise { fill: var(--soft); fill-opacity: .35; stroke: var(--soft); stroke-width: .6; }
svg .fall { fill: var(--soft); }
svg .entry { fill: var(--curve); } svg .tip { fill: transparent; }
svg .exposure { fill: var(--curve); fill-opacity: .3; stroke: var(--curve); stroke-width: 1; }
svg .paid { fill: var(--bad); fill-opacity: .14; }
svg .dots { fill: none; stroke-width: 3.4; stroke-linecap: round; stroke: var(--soft); }
svg .dots.hold { stroke-opacity: .45; stroke-width: 2.4; }
svg .dots.up { stroke: var(--good); } svg .dots.down { stroke: var(--bad); }
svg .dots.buy { stroke: var(--curve); } svg .dots.sell { stroke: var(--other); }
h3 { margin: 16px 0 4px; font-size: 15px; } summary { cursor: pointer; padding: 4px 0; }
.pair { display: grid; gap: 4px 40px;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 380px), 1fr)); }
.pair td:last-child { text-align: right; }
.figures th:not(:first-child), .figures td:not(:first-child) { text-align: right; }
.figures td { white-space: nowrap; } details details { margin-left: 18px; }
.heat { font-size: 12px; } .heat td, .heat th { padding: 4px 5px; text-align: right; }
.heat td { overflow-wrap: normal; white-space: nowrap; }
.heat th:first-child { text-align: left; }
@media print { body { max-width: none; } }
"""

STYLE: Final = _RULES + _HEAT_RULES
