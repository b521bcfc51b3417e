"""Evaluate trained checkpoints and show the results.

Each subcommand is a function of its own arguments; `python -m evaluation NAME --help` says which it takes.
"""

import sys
from collections.abc import Callable, Sequence

from catalog.errors import ConfigError
from evaluation import (
    align_command,
    benchmarks_command,
    edits_command,
    run_command,
    show_command,
    train_decoder_command,
    unseen_command,
)

COMMANDS: dict[str, Callable[[Sequence[str]], int]] = {
    "align": align_command.main,
    "benchmarks": benchmarks_command.main,
    "edits": edits_command.main,
    "run": run_command.main,
    "show": show_command.main,
    "train-decoder": train_decoder_command.main,
    "unseen": unseen_command.main,
}
"""Subcommand to what runs it. The first line of its module's docstring says what it does."""


def main(arguments: Sequence[str]) -> int:
    """Run one subcommand and return its exit status."""
    name, *rest = arguments or ["--help"]
    if name in ("-h", "--help"):
        sys.stdout.write(_usage())
        return 0
    if name not in COMMANDS:
        raise ConfigError(f"a subcommand of `python -m evaluation` must be one of {', '.join(COMMANDS)}. Got {name!r}")
    return COMMANDS[name](rest)


def _usage() -> str:
    lines = []
    for name, function in COMMANDS.items():
        about = (sys.modules[function.__module__].__doc__ or "").partition("\n")[0]
        lines.append(f"  {name:<14} {about}")
    return f"usage: python -m evaluation COMMAND ... (each has --help)\n\n{__doc__}\n" + "\n".join(lines) + "\n"
