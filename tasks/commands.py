"""Look at what builds are made of, helper models and single pairs made again, and crawl photo requests.

Each subcommand is a function of its own arguments; `python -m tasks NAME --help` says which it takes.
"""

from collections.abc import Sequence

from catalog import command_line
from tasks import (
    check_source_command,
    doctor_command,
    expand_command,
    forecast_command,
    near_duplicates_command,
    replay_command,
    sheet_command,
    sources_command,
)
from tasks.photo_requests import crawl_command

COMMANDS: dict[str, command_line.Command] = {
    "check-source": check_source_command.main,
    "crawl": crawl_command.main,
    "doctor": doctor_command.main,
    "expand": expand_command.main,
    "forecast": forecast_command.main,
    "near-duplicates": near_duplicates_command.main,
    "replay": replay_command.main,
    "sheet": sheet_command.main,
    "sources": sources_command.main,
}
"""Subcommand to what runs it. The first line of its module's docstring says what it does."""


def main(arguments: Sequence[str]) -> int:
    """Run one subcommand and return its exit status."""
    return command_line.dispatch("python -m tasks", __doc__ or "", COMMANDS, arguments)
