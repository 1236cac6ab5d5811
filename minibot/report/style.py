"""The style sheet of the morning report."""

from __future__ import annotations

from typing import Final

STYLE: Final = """
:root { color-scheme: light dark; --ink: #1b1f24; --soft: #667079; --line: #d9dee3;
  --paper: #ffffff; --panel: #f5f7f9; --good: #1a7f4b; --bad: #b3261e; --curve: #1f5fbf; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ec; --soft: #98a2ab; --line: #343b42;
  --paper: #14181c; --panel: #1c2227; --good: #55c58c; --bad: #f2857d; --curve: #7db1ff; } }
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
svg { width: 100%; height: auto; } svg text { fill: var(--soft); font-size: 12px; }
svg .grid { stroke: var(--line); stroke-width: 1; }
svg .equity { fill: none; stroke: var(--curve); stroke-width: 1.6; stroke-linejoin: round; }
svg .drawdown { fill: var(--bad); fill-opacity: .25; stroke: var(--bad); stroke-width: 1; }
svg .won { fill: var(--good); } svg .lost { fill: var(--bad); }
@media print { body { max-width: none; } }
"""
