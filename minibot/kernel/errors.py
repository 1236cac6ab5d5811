"""Every error minibot raises on purpose, and what each one means for the run.

A `RunStop` ends the run with a reason code that stands in the stop journal. A `Refusal` keeps a
run from starting. A `Transient` may pass; a spent retry budget turns it into a `RunStop`.
A business "no" is a value, never one of these.
"""

from __future__ import annotations

from collections.abc import Sequence

from minibot.kernel.codes import QUEUE_LOCKED


class MinibotError(Exception):
    """The root of all errors that minibot raises on purpose.

    Each can be sent from one process to another: a worker's error is read where the work was asked
    for, although the classes are made with other arguments than they keep.
    """

    def __reduce__(self) -> tuple[object, ...]:
        return _made_again, (type(self), self.args, dict(self.__dict__))


class RunStop(MinibotError):
    """Ends the run at once, fail-closed.

    Args:
        component: Who found it, e.g. `kernel.journal` or a role's name.
        reason_code: One of the STOP codes.
        detail: One sentence: what was expected where, and what was found.
    """

    def __init__(self, component: str, reason_code: str, detail: str) -> None:
        super().__init__(f"{reason_code}: {detail}")
        self.component = component
        self.reason_code = reason_code
        self.detail = detail


class IntegrityError(RunStop):
    """A hash, chain, sequence, cursor or write order is wrong.

    Args:
        component: Who found it.
        reason_code: One of the STOP codes.
        detail: What is wrong; the place and the two values are added to it where given.
        file: The file in which the damage stands, empty where there is none.
        line: Line number in that file, from 1; 0 where no line applies.
        offset: Byte offset in that file.
        expected: What should stand there.
        found: What stands there.
    """

    def __init__(
        self,
        component: str,
        reason_code: str,
        detail: str,
        *,
        file: str = "",
        line: int = 0,
        offset: int = 0,
        expected: str = "",
        found: str = "",
    ) -> None:
        if file:
            place = f"{file}, line {line}, offset {offset}" if line else f"{file}, offset {offset}"
            detail = f"{place}: {detail}"
        if expected or found:
            detail = f"{detail}: expected {expected}, found {found}"
        super().__init__(component, reason_code, detail)
        self.file = file
        self.line = line
        self.offset = offset
        self.expected = expected
        self.found = found


class ContractError(RunStop):
    """An event of unknown type, against its schema, or with a wrong envelope field."""


class InvariantError(RunStop):
    """Our own bug: a state that cannot be."""


class FeedLost(RunStop):
    """Market data stayed away for longer than the run may trade without it."""


class Refusal(MinibotError):
    """Something cannot run; nothing was started.

    Args:
        message: What happened, and where.
        remedy: What to do next.
        exit_code: Exit code of the verb: 2 cannot run, 4 configuration.
    """

    def __init__(self, message: str, remedy: str, exit_code: int = 2) -> None:
        super().__init__(f"{message} {remedy}" if remedy else message)
        self.message = message
        self.remedy = remedy
        self.exit_code = exit_code


class ConfigError(Refusal):
    """A configuration with all its violations, collected into one error; exit code 4.

    Args:
        message: Which file or source was read.
        violations: One sentence for each violation: key, value, what is allowed, nearest key.
        remedy: What to do next.
    """

    def __init__(self, message: str, violations: Sequence[str], remedy: str = "") -> None:
        super().__init__(message, remedy, exit_code=4)
        self.violations = tuple(violations)


class Transient(MinibotError):
    """May pass when tried again."""


class LockBusy(Transient):
    """Another process holds the lock.

    Args:
        path: The lock's file.
    """

    reason_code = QUEUE_LOCKED

    def __init__(self, path: str) -> None:
        super().__init__(f"{path} is locked by another process")
        self.path = path


def _made_again(
    kind: type[MinibotError], args: tuple[object, ...], fields: dict[str, object]
) -> MinibotError:
    """Return an error with what it said and carried; its class is not asked to say it again."""
    error = kind.__new__(kind, *args)
    error.__dict__.update(fields)
    return error
