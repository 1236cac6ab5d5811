"""Make minibot's own environment in `.venv`, then run Python in it with the given arguments.

    python3 tools/with_env.py -m minibot.nore_run_v1 --config config/nore-demo.v1.json
    python3 tools/with_env.py -m pytest
    python3 tools/with_env.py                      only makes the environment
    python3 tools/with_env.py --dev                the same, with the packages of checks and tools

On Windows: `py` and a backslash instead of `python3` and the slash.

The first start creates `.venv`, installs what `requirements.lock` names (each file checked
against its sha256) and puts the project itself on its path; later starts compare one stamp and
hand over at once. pytest, ruff, mypy and what lies in tools need `requirements-dev.lock` too: the
first of them adds it. pip's own configuration (PIP_*, pip.conf) decides where packages come from.
Exit code 2: the environment cannot be made, with one message that says what to do.

Standard library alone. This file keeps to syntax of Python 3.5 (no f-strings, no newer
annotations), so that an old Python 3 can report that it is too old; the modules that it calls need
3.11.
"""

import os
import signal
import sys

PYTHON_LOWEST = (3, 11)
TOO_OLD = """with_env: needs Python {}.{}+, found {}.{} at {}; install it, or run
  python3.11 tools/with_env.py ...    (Windows: py -3.11 tools\\with_env.py ...)
"""


def main(arguments: "list[str]") -> int:
    """Make the environment where needed, then run Python in it; return an exit code."""
    if arguments in (["-h"], ["--help"]):
        sys.stdout.write(str(__doc__) + "\n")
        return 0
    if sys.version_info < PYTHON_LOWEST:
        found = tuple(sys.version_info[:2])
        sys.stderr.write(TOO_OLD.format(*(PYTHON_LOWEST + found), sys.executable))
        return 2
    sys.path[0] = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    from tools import environment

    given = list(arguments)
    dev = environment.is_for_checks(arguments)
    if arguments[:1] == ["--dev"]:
        dev, arguments = True, arguments[1:]
    try:
        if not environment.take_into_use(dev):
            if environment.runs_inside_venv():  # It cannot replace what it stands on.
                again = [os.path.abspath(__file__)] + given
                return environment.run_python(environment.base_python(), again)
            set_up(dev)
        environment.finish_deployment()
    except environment.Refused as error:
        environment.say(str(error))
        return 2
    except KeyboardInterrupt:
        environment.say("interrupted; the next start begins the set-up again")
        return 130
    except OSError as error:
        environment.say("cannot make .venv: {}".format(error))
        return 2
    if not arguments:
        start = "py tools\\with_env.py" if os.name == "nt" else "python3 tools/with_env.py"
        environment.say("ready; next: {} -m minibot --help".format(start))
        return 0
    return environment.run_python(environment.venv_python(), arguments)


def set_up(dev: bool) -> None:
    """Make the environment and take it into use; Ctrl-C and SIGTERM end it between two steps."""
    from tools import env_setup, environment

    former = signal.signal(signal.SIGTERM, signal.default_int_handler)
    while not environment.take_into_use(dev):
        env_setup.bring_up_to_date(dev)
    signal.signal(signal.SIGTERM, former)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
