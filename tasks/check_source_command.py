"""Check a dataset's folder before building: counts, splits, missing files, what would be refused.

    python -m tasks check-source gopro /datasets/GoPro --option split=test
    python -m tasks check-source coco /datasets/coco --option annotations=annotations/instances_train2017.json
    python -m tasks check-source magicbrush /datasets/MagicBrush --read all

Every record is listed and every file that it names is looked for. Of some records the images are decoded and every
check of a build is run. Nothing is written. Exit status 0: sound; 1: files are missing, ids occur twice or no record
that was read can be used; 2: a wrong folder, file or option, with what was looked for and where.
"""

import argparse
import json
import sys
import time
from collections.abc import Sequence

from catalog.command_line import printable
from catalog.errors import ConfigError
from catalog.progress_line import ProgressLine
from catalog.reports import text_table
from tasks.profiles import Source
from tasks.readers.progress import listening
from tasks.replay_command import parse_settings
from tasks.source_check import MAX_EXAMPLES, SourceCheck, check_source

_READ = 64


def main(arguments: Sequence[str]) -> int:
    """Check one source and print what was found; 0 where it is sound, else 1."""
    options = _parse(arguments)
    given = parse_settings(options.option, "--option split=test")
    source = Source(dataset=options.name, reader=options.name, root=options.path, options=given)
    start = time.monotonic()
    with ProgressLine() as line:

        def tell(name: str, done: int, total: int) -> None:
            line.say(f"{name}: {done >> 20} of {total >> 20} MiB read")

        with listening(tell):
            found = check_source(source, _number(options.read), line.say)
    if options.json:
        sys.stdout.write(json.dumps(found.as_dict(), indent=2) + "\n")
    else:
        sys.stdout.write(in_words(found, source, time.monotonic() - start) + "\n")
    if found.is_all_refused:
        sys.stderr.write(f"error: {printable(_refusal(found, source))}\n")
    return 0 if found.is_sound else 1


def in_words(found: SourceCheck, source: Source, seconds: float) -> str:
    """The findings as short tables."""
    rows = [[name, count] for name, count in found.counts.items() if count]
    rows += [[f"split {name}", count] for name, count in sorted(found.splits.items())]
    rows += [[f"edit type {name}", count] for name, count in found.edit_types.most_common()]
    rows += [["files named", found.num_files], ["files missing", found.num_missing]]
    lines = [f"{source.reader}{f' in {source.root}' if source.root else ''}, {seconds:.1f} s", ""]
    lines += [text_table(["what", "number"], rows)]
    lines += [f"  missing: {name}" for name in found.missing]
    if found.num_missing > MAX_EXAMPLES:
        lines.append(f"  and {found.num_missing - MAX_EXAMPLES} more")
    if found.oddities:
        lines += ["", text_table(["odd, by the annotations alone", "number"], list(map(list, found.oddities.items())))]
    num_refused = found.reasons.total()
    lines += ["", f"{found.num_read} records read with their images: {found.num_rows} rows, {num_refused} refused"]
    if found.reasons:
        table = [[reason, count, found.examples[reason]] for reason, count in found.reasons.most_common()]
        lines.append(text_table(["reason", "rows", "the first of them"], table))
    return "\n".join(lines)


def _refusal(found: SourceCheck, source: Source) -> str:
    reasons = ", ".join(f"{reason} {count}" for reason, count in found.reasons.most_common())
    place = f" below {source.root}" if source.root else ""
    more = ", or read more with --read all" if found.num_read < found.splits.total() else ""
    return f"no record{place} that was read can be used ({reasons or 'nothing in them'}): mend what is named here{more}"


def _number(text: str) -> int | None:
    if text == "all":
        return None
    if not text.isdecimal():
        raise ConfigError(f"--read must be a whole number of records, or all. Got {text!r}")
    return int(text)


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tasks check-source", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("name", metavar="NAME", help="a reader: see python -m tasks sources")
    parser.add_argument("path", metavar="PATH", nargs="?", default="", help="its folder; none for sample and synthetic")
    parser.add_argument("--option", action="append", default=[], metavar="NAME=VALUE", help="of the reader; repeatable")
    parser.add_argument(
        "--read",
        default=str(_READ),
        metavar="N",
        help="records whose images are decoded, or all (default: %(default)s, drawn by their ids)",
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    return parser.parse_args(arguments)
