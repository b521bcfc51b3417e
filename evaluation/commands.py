"""Evaluate trained checkpoints and show the results.

Each subcommand is a function of its own arguments; `python -m evaluation NAME --help` says which it takes.
"""

from collections.abc import Sequence

from catalog import command_line
from evaluation import (
    align_command,
    benchmarks_command,
    edits_command,
    run_command,
    show_command,
    train_decoder_command,
    unseen_command,
)

COMMANDS: dict[str, command_line.Command] = {
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
    return command_line.dispatch("python -m evaluation", __doc__ or "", COMMANDS, arguments)
