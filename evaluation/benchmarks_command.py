"""List every benchmark: protocol, metrics, the paper's values, and what is there of its data.

python -m evaluation benchmarks --json
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from catalog.workspace import Workspace
from evaluation.benchmarks import MIX_SPLITS, OTHERS, PAPER, Benchmark, benchmark_mix
from evaluation.tables import print_benchmarks

_PROFILE = Path(__file__).resolve().parents[1] / "infra" / "profiles" / "benchmarks.toml"


def main(arguments: Sequence[str]) -> int:
    """List; exit status 0."""
    options = _parse(arguments)
    from tasks.profiles import read_profile

    roots = {source.dataset: Path(source.root) for source in read_profile(options.profile).sources}
    rows = [(benchmark, _data(benchmark, roots)) for benchmark in (*MIX_SPLITS, *PAPER, *OTHERS)]
    if options.json:
        listed = [{**benchmark.as_dict(), "data": data, "present": data != "absent"} for benchmark, data in rows]
        sys.stdout.write(json.dumps(listed, indent=2) + "\n")
    else:
        print_benchmarks(rows)
    return 0


def _data(benchmark: Benchmark, roots: dict[str, Path]) -> str:
    """What is there of a benchmark's data: ``built``: a mix to evaluate on; ``on disk``: the dataset's folder."""
    catalog = Workspace.default().catalog
    key = benchmark.name.partition("/")[0]
    if benchmark.protocol == "crops":
        return "built" if (catalog / "mix.parquet").is_file() else "absent"
    if benchmark_mix(catalog, key).is_file():
        return "built"
    return "on disk" if key in roots and roots[key].is_dir() else "absent"


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m evaluation benchmarks",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--json", action="store_true", help="as JSON")
    parser.add_argument(
        "--profile",
        type=Path,
        default=_PROFILE,
        metavar="TOML",
        help="says where the datasets are (default: infra/profiles/benchmarks.toml)",
    )
    return parser.parse_args(arguments)
