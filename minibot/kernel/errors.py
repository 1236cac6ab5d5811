"""Errors that minibot raises on purpose, and their meaning for the run.

A `RunStop` ends the run with a reason code that stands in the stop journal. A `Refusal` keeps a
run from starting. A `Transient` may pass on a retry; a spent retry budget turns it into a
`RunStop`. Any other, such as `LineError`, is for its caller, who turns it into one of these or goes
another way. A business "no" is a value, never one of these.
"""

from __future__ import annotations

from collections.abc import Sequence

from minibot.kernel.codes import QUEUE_LOCKED


class MinibotError(Exception):
    """Base class of all errors that minibot raises on purpose.

    All can be pickled from one process to another, although their constructors take other arguments
    than `args` holds.
    """

    def __reduce__(self) -> tuple[object, ...]:
        return _made_again, (type(self), self.args, dict(self.__dict__))


class RunStop(MinibotError):
    """Stop of the run at once, fail-closed.

    Args:
        component: The finder: a role's name, or a module (`kernel.journal` also for its parts).
        reason_code: A code of `events.stop_codes`.
        detail: One sentence: the place, the expected and the found value.
    """

    def __init__(self, component: str, reason_code: str, detail: str) -> None:
        super().__init__(f"{reason_code}: {detail}")
        self.component = component
        self.reason_code = reason_code
        self.detail = detail


class IntegrityError(RunStop):
    """A hash, chain, sequence, cursor or write order is wrong.

    Args:
        component: The finder.
        reason_code: A code of `events.stop_codes`.
        detail: The fault; the place and the two values are added to it where given.
        file: The damaged file, empty if there is none.
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
    """An event of unknown type, one that breaks its schema, or one with a wrong envelope field."""


class InvariantError(RunStop):
    """Our own bug: a state that cannot be."""


class FeedLost(RunStop):
    """Market data stayed away or was unusable, beyond what the run may bear."""


class Refusal(MinibotError):
    """Refusal to start: something cannot run, and nothing was started.

    Args:
        message: The fault, and where it was found.
        remedy: What to do next.
        exit_code: Exit code of the verb: 2 cannot run, 4 configuration.
        faults: The faults of the message one by one, where there are several.
    """

    def __init__(
        self, message: str, remedy: str, exit_code: int = 2, faults: Sequence[str] = ()
    ) -> None:
        super().__init__(f"{message} {remedy}" if remedy else message)
        self.message = message
        self.remedy = remedy
        self.exit_code = exit_code
        self.faults = tuple(faults)


class ConfigError(Refusal):
    """A configuration with all its violations, collected into one error; exit code 4.

    Args:
        message: Which file or source was read.
        violations: One sentence for each violation: key, value, allowed values, nearest key.
        remedy: What to do next.
    """

    def __init__(self, message: str, violations: Sequence[str], remedy: str = "") -> None:
        super().__init__(message, remedy, exit_code=4)
        self.violations = tuple(violations)


class Transient(MinibotError):
    """Transient failure: a retry may succeed."""


class LockBusy(Transient):
    """Another process, or another lock object of this one, holds the lock.

    Args:
        path: The lock's file.
    """

    reason_code = QUEUE_LOCKED

    def __init__(self, path: str) -> None:
        super().__init__(f"{path} is locked already, by another process or by this one")
        self.path = path


def _made_again(
    kind: type[MinibotError], args: tuple[object, ...], fields: dict[str, object]
) -> MinibotError:
    """Return an unpickled error with its `args` and fields, without calling its constructor."""
    error = kind.__new__(kind, *args)
    error.__dict__.update(fields)
    return error
