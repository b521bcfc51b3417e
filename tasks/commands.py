"""Look at what builds are made of, helper models and single pairs made again, and crawl photo requests.

Each subcommand is a function of its own arguments; `python -m tasks NAME --help` says which it takes.
"""

import sys
from collections.abc import Callable, Sequence

from catalog.errors import ConfigError
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

COMMANDS: dict[str, Callable[[Sequence[str]], int]] = {
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
    name, *rest = arguments or ["--help"]
    if name in ("-h", "--help"):
        sys.stdout.write(_usage())
        return 0
    if name not in COMMANDS:
        raise ConfigError(f"a subcommand of `python -m tasks` must be one of {', '.join(COMMANDS)}. Got {name!r}")
    return COMMANDS[name](rest)


def _usage() -> str:
    lines = []
    for name, function in COMMANDS.items():
        about = (sys.modules[function.__module__].__doc__ or "").partition("\n")[0]
        lines.append(f"  {name:<14} {about}")
    return f"usage: python -m tasks COMMAND ... (each has --help)\n\n{__doc__}\n" + "\n".join(lines) + "\n"
