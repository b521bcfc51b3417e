"""Print stored metric rows.

python -m evaluation show --output runs/evaluation
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from catalog.errors import UserError
from catalog.store import read_shard
from catalog.workspace import Workspace
from evaluation.reports import edit_warnings
from evaluation.tables import print_rows


def main(arguments: Sequence[str]) -> int:
    """Show; exit status 0."""
    options = _parse(arguments)
    path = options.output / "metrics.parquet"
    if not path.is_file():
        raise UserError(f"{options.output} holds no metrics.parquet: run `python -m evaluation run` first")
    finished = sorted((options.output / "evaluations").glob("*.parquet"))
    # Beside each lie its best and worst cases (`evaluation.standouts`).
    paths = [one for one in finished if not one.name.endswith(".cases.parquet")] if options.all else [path]
    for place in paths:
        rows = read_shard(place).to_pylist()
        sys.stdout.write(f"{place}\n{_describe(rows)}.{edit_warnings(rows)}\n")
        print_rows(rows)
    return 0


def _describe(rows: list[dict[str, Any]]) -> str:
    """Whose metrics these are, in one line."""
    checkpoint = next((row["checkpoint_sha256"] for row in rows if row["checkpoint_sha256"]), None) or "none"
    config = json.loads(rows[0]["config"]) if rows else {}
    facts = {
        "checkpoint": checkpoint[:12],
        "confirmed by": config.get("confirmed_by"),
        "mix": rows[0]["mix_sha256"][:12] if rows else "none",
        **{name: config.get(name) for name in ("split", "size", "limit", "seed")},
        "steps": config.get("predictor", {}).get("num_steps"),
    }
    return ", ".join(f"{name} {value}" for name, value in facts.items() if value is not None)


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    show = argparse.ArgumentParser(
        prog="python -m evaluation show", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    show.add_argument(
        "--output",
        type=Path,
        default=Workspace.default().runs / "evaluation",
        metavar="FOLDER",
        help="folder of a run (default: $IEIW_HOME/runs/evaluation)",
    )
    show.add_argument("--all", action="store_true", help="every finished evaluation there, not only the last")
    return show.parse_args(arguments)
