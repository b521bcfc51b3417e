"""What a benchmark returns, and how it says that this machine cannot run it."""

import os
import platform
from dataclasses import dataclass
from pathlib import Path


class CannotRunHere(Exception):
    """This machine lacks what the benchmark needs; the message says what. Its last result is kept."""


@dataclass(frozen=True, kw_only=True)
class Record:
    """One figure: a ratio against a peer or a limit measured in the same run, on the same machine."""

    name: str
    value: float
    unit: str
    """Of ``value``; "ratio" where it is one."""
    against: str
    """What it is measured against, with the numbers of this run."""
    goal: str
    """What ``value`` must be, in words: "<= 1.05"."""
    holds: bool


def describe_machine() -> str:
    """Processor model, cores and memory, without any name of the machine."""
    model = platform.machine()
    try:
        with Path("/proc/cpuinfo").open() as file:
            model = next(line.partition(":")[2].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{model}, {os.cpu_count()} cores, {memory:.0f} GiB"
