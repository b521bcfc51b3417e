"""``python -m catalog export``: a mix as WebDataset tars, a folder for Hugging Face `datasets`, or Croissant metadata.

    python -m catalog export --format webdataset --output exports/pairs
    python -m catalog export --format datasets --output exports/pairs --licence 'CC*' --licence generated
    python -m catalog export --format croissant --output exports/places

What is copied: webdataset and datasets hold every picture, photos of source datasets too, byte for byte; croissant
holds none, but says where each one lies. So the first two refuse licences that do not plainly allow passing copies on,
until --licence or --private vouches for them. Nothing is overwritten; after a kill the same command goes on.
"""

import argparse
import json
import re
import sys
from collections import Counter
from pathlib import Path

from catalog.errors import ConfigError
from catalog.exports.card import TALLIED
from catalog.exports.export import KINDS, ExportSummary, export_mix
from catalog.exports.licences import LicenceChoice
from catalog.exports.pairs import PairOptions
from catalog.outputs import check_output_folder
from catalog.progress_line import ProgressLine
from catalog.reports import counted, text_table
from catalog.schema import SPLITS
from catalog.workspace import Workspace

_UNITS = {"KB": 10**3, "MB": 10**6, "GB": 10**9}
_SIZES = (32, 4096)


def add_options(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.description, parser.formatter_class = __doc__, argparse.RawDescriptionHelpFormatter
    parser.add_argument("--format", required=True, choices=KINDS, help="what to write")
    parser.add_argument("--output", required=True, type=Path, metavar="FOLDER", help="a folder that is not there yet")
    parser.add_argument("--mix", type=Path, help="mix file (default: catalog/mix.parquet of the workspace)")
    parser.add_argument(
        "--licence", action="append", default=[], metavar="TEXT", help="copy this licence's pairs; * is any text"
    )
    parser.add_argument("--private", action="store_true", help="copy every licence, for yourself")
    parser.add_argument(
        "--targets",
        choices=("drawn", "annotations"),
        default="drawn",
        help="what training draws and words at load time: drawn once, or left out (default: %(default)s)",
    )
    parser.add_argument("--size", type=int, default=256, help="side of what is drawn, pixels (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of what is drawn (default: %(default)s)")
    parser.add_argument("--repeats", action="store_true", help="every draw of the mix; default: each pair once")
    parser.add_argument("--shard-size", default="500MB", metavar="SIZE", help="of a file (default: %(default)s)")


def run_export(options: argparse.Namespace, workspace: Workspace) -> int:
    """Export and say what was done."""
    if not _SIZES[0] <= options.size <= _SIZES[1]:
        raise ConfigError(f"--size must be from {_SIZES[0]} to {_SIZES[1]} pixels. Got {options.size}")
    if options.seed < 0:
        raise ConfigError(f"--seed must be 0 or more. Got {options.seed}")
    check_output_folder(options.output)
    with ProgressLine() as line:
        summary = export_mix(
            workspace,
            options.mix or workspace.catalog / "mix.parquet",
            options.output,
            options.format,
            PairOptions(targets=options.targets, seed=options.seed, size=options.size, repeats=options.repeats),
            LicenceChoice(patterns=tuple(options.licence), private=options.private),
            parse_size(options.shard_size),
            lambda done, total: line.say(f"{done:,} of {total:,} rows", is_last=done == total),
        )
    return _report(summary, options.json)


def parse_size(text: str) -> int:
    """Bytes of a size such as 500MB. Raises ConfigError."""
    match = re.fullmatch(r"(\d{1,6})(KB|MB|GB)", text)
    if match is None:
        raise ConfigError(f"--shard-size must be a whole number and KB, MB or GB: 500MB. Got {text!r}")
    return int(match[1]) * _UNITS[match[2]]


def _report(summary: ExportSummary, as_json: bool) -> int:
    if as_json:
        pairs = [[*values, number] for values, number in sorted(summary.pairs.items(), key=str)]
        values = {"num_pairs": summary.num_pairs, "num_bytes": summary.num_bytes, "left_out": dict(summary.left_out)}
        _say(json.dumps({"output": str(summary.output), **values, "pairs_by": TALLIED, "pairs": pairs}, indent=2))
        return 0
    kinds: dict[tuple[str, str], Counter[str]] = {}
    licences: Counter[tuple[str | None, str | None]] = Counter()
    for (split, task, edit, _, licence, donor), number in summary.pairs.items():
        kinds.setdefault((task, edit or "-"), Counter())[split] += number
        licences[licence, donor] += number
    rows = [[*kind, *(counts[split] for split in SPLITS)] for kind, counts in sorted(kinds.items())]
    _say(text_table(["vision task", "edit type", *SPLITS], rows) + "\n")
    rows = [[*names, number] for names, number in sorted(licences.items(), key=str)]
    _say(text_table(["licence", "of the donor", "pairs"], rows))
    for reason, number in sorted(summary.left_out.items()):
        _say(f"left out, {reason}: {number} (left_out.jsonl names them)")
    _say(f"\n{counted(summary.num_pairs, 'pair')}, {summary.num_bytes / 10**6:.1f} MB in {summary.output}")
    return 0


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
