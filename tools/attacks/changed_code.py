"""Attacks on a running night: its code changes on disk, then a role has to restart."""

from __future__ import annotations

import os
from pathlib import Path

from tools.attacks.frame import Found, Lab, attack, stops_of
from tools.attacks.planting import LISTED, judged, marking, product_with_list


@attack("A2", "a source of risk is edited during a demo, then risk_role is killed", "CODE_CHANGED")
def edited_during_a_night(lab: Lab) -> Found:
    """Edit a source of risk during a demo, then kill risk_role."""
    product = lab.copy_product()
    return _changed_and_killed(lab, product, "risk_role", "minibot/risk/limits.py")


@attack("A2", "many sources change as by git pull, then the strategy is killed", "CODE_CHANGED")
def pulled_during_a_night(lab: Lab) -> Found:
    """Change many sources at once, as git pull does, then kill the strategy."""
    product = lab.copy_product()
    for path in sorted((product / "minibot" / "report").glob("*.py")):
        os.utime(path)  # Written before the night starts, so it is not a change of it.
    return _changed_and_killed(
        lab,
        product,
        "strategy_role",
        *(f"minibot/strategies/{name}.py" for name in ("core", "view", "tick", "rules")),
    )


@attack("A2", "a source is edited during a night under the list, then a role is killed", "a STOP")
def edited_under_the_list(lab: Lab) -> Found:
    """Edit a source during a night under the code list, then kill a role."""
    product = product_with_list(lab)
    return _changed_and_killed(
        lab, product, "execution_role", "minibot/execution/core.py", sets=LISTED
    )


@attack("A2", "sources are touched, not changed, during a demo, then risk_role is killed", "exit 0")
def touched_during_a_night(lab: Lab) -> Found:
    """Touch sources without changing them during a demo, then kill risk_role."""
    product = lab.copy_product()
    night = lab.start_night({"duration_ms": "200000"})
    night.wait_for_fills()
    for path in sorted((product / "minibot" / "risk").glob("*.py")):
        os.utime(path)
    night.roles()["risk_role"].kill()
    return judged(lab, night.wait(), 0)


def _changed_and_killed(
    lab: Lab, product: Path, role: str, *names: str, sets: dict[str, str] | None = None
) -> Found:
    """Change sources under a running night, kill a role, and judge the STOP."""
    night = lab.start_night({"duration_ms": "600000"} | (sets or {}))
    night.wait_for_fills()
    for name in names:
        with (product / name).open("a") as file:
            file.write(marking(lab))
    night.roles()[role].kill()
    found = judged(lab, night.wait(), 10, "CODE_CHANGED", min(names), "clear-stop")
    codes = [stop["reason_code"] for stop in stops_of(lab.var)]
    return Found(found.said, found.exit_code, found.is_expected and codes == ["CODE_CHANGED"])
