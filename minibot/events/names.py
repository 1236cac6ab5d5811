"""Names of roles and queues as constants; `config/roles.v1.json` says who reads and writes what."""

from __future__ import annotations

from typing import Final

WATCHDOG_ROLE: Final = "watchdog_role"
MARKET_ROLE: Final = "market_role"
STRATEGY_ROLE: Final = "strategy_role"
RISK_ROLE: Final = "risk_role"
EXECUTION_ROLE: Final = "execution_role"
AI_ROLE: Final = "ai_role"

TICKS: Final = "market_ticks"
SIGNALS: Final = "signals"
RISK_ACTIONS: Final = "risk_actions"
ORDER_INTENTS: Final = "order_intents"
ORDER_RESULTS: Final = "order_results"
FILLS: Final = "fills"
CONTROL: Final = "control"
RECOMMENDATIONS: Final = "recommendations"
HEALTH: Final = "health"
INCIDENTS: Final = "incidents"
STOP_JOURNAL: Final = "stop_journal"
