"""Run benchmarks and keep their figures: ``make bench`` or ``make bench ONLY=orchestration_overhead``.

A benchmark is a function ``bench_NAME`` in a file ``bench_*.py`` of this folder; it returns a `Record`. Its
figure replaces the one of the same name in results.json, together with machine, command and date.
"""

import argparse
import importlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from benchmark_record import CannotRunHere, Record, describe_machine

FOLDER = Path(__file__).resolve().parent
RESULTS = FOLDER / "results.json"


def find_benchmarks() -> dict[str, str]:
    """Every benchmark's name with the module it is in, in order of file and place. Nothing is imported."""
    pattern = re.compile(r"^def bench_(\w+)\(", re.MULTILINE)
    paths = sorted(FOLDER.glob("bench_*.py"))
    return {name: path.stem for path in paths for name in pattern.findall(path.read_text(encoding="utf-8"))}


def keep(record: Record) -> None:
    """Write the record into results.json in place of the last one of its name."""
    kept = json.loads(RESULTS.read_text()) if RESULTS.exists() else []
    entry = asdict(record) | {
        "value": float(f"{record.value:.4g}"),
        "machine": describe_machine(),
        "command": f"make bench ONLY={record.name}",
        "date": datetime.now(UTC).date().isoformat(),
    }
    others = [one for one in kept if one["name"] != record.name]
    RESULTS.write_text(json.dumps(sorted([*others, entry], key=lambda one: one["name"]), indent=2) + "\n")


def run_one(name: str) -> bool:
    """Run one benchmark in this process; False where its goal is missed."""
    try:
        benchmark: Callable[[], Record] = getattr(importlib.import_module(find_benchmarks()[name]), f"bench_{name}")
        record = benchmark()
    except CannotRunHere as reason:
        sys.stdout.write(f"{name}: not run here, {reason}\n")
        return True
    assert record.name == name
    if "IEIW_BENCH_SHARE" not in os.environ:  # a trial with less than the whole is no result
        keep(record)
    verdict = "holds" if record.holds else "MISSED"
    sys.stdout.write(f"{name}: {record.value:.4g} {record.unit}, goal {record.goal}: {verdict}\n  {record.against}\n")
    return record.holds


def main() -> int:
    """Run the named benchmarks, or all, those of one file in one process. Exit status 1 where a goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="benchmarks to run (default: all)")
    names = parser.parse_args().names
    known = find_benchmarks()
    if unknown := [name for name in names if name not in known]:
        sys.stderr.write(f"error: no benchmark {', '.join(unknown)}; there are {', '.join(known)}\n")
        return 2
    files: dict[str, list[str]] = {}
    for name in names or known:
        files.setdefault(known[name], []).append(name)
    if len(files) == 1:
        return 0 if all([run_one(name) for name in names or known]) else 1
    failed = [
        ", ".join(group)
        for group in files.values()
        if subprocess.run([sys.executable, __file__, *group], check=False).returncode
    ]
    if failed:
        sys.stdout.write(f"missed or failed among: {'; '.join(failed)}\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
