"""minibot completion: print the script by which a shell completes verbs, flags, runs and files."""

from __future__ import annotations

import argparse
from typing import Final

from minibot.cli.support.output import show_json
from minibot.kernel.errors import Refusal
from minibot.runtime.extras import COMPLETION, COMPLETION_REMEDY, missing_packages

HELP = "script that completes verbs, flags, runs and profiles in bash, zsh, fish or PowerShell"
EXAMPLE = "minibot completion bash >> ~/.bashrc"
SHELLS: Final = ("bash", "zsh", "fish", "powershell")


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the flags of this verb."""
    command.add_argument(
        "shell",
        choices=SHELLS,
        metavar="SHELL",
        help="bash: append to ~/.bashrc; zsh: save as _minibot in a folder of $fpath; fish: save "
        "as minibot.fish in ~/.config/fish/completions; powershell: append to $PROFILE",
    )


def run(arguments: argparse.Namespace) -> int:
    """Print the script of a shell; 2 without the extra."""
    if missing := missing_packages(COMPLETION):
        raise Refusal(f"{missing} is not installed.", f"To complete, {COMPLETION_REMEDY}.")
    # Imported here because no other verb needs it.
    from argcomplete.shell_integration import shellcode

    script = shellcode(["minibot"], shell=arguments.shell)
    if arguments.json:
        show_json({"shell": arguments.shell, "script": script})
    else:
        print(script)
    return 0
