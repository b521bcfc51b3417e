"""Draw what a dataset gives: sources, targets, annotations and instructions on one picture.

    python -m tasks sheet coco /datasets/coco --option annotations=annotations/person_keypoints_val2017.json
    python -m tasks sheet cocostuff /datasets/coco-stuff --set render.alpha=0.7 --output stuff.png

Only the first images are read and nothing is kept but the picture. A pixel that looks wrong here trains wrong.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from catalog.errors import ConfigError
from catalog.outputs import check_output
from catalog.render_styles import RenderOptions
from catalog.reports import text_table
from catalog.workspace import Workspace
from tasks.dataset_sheet import write_dataset_sheet
from tasks.profiles import Source
from tasks.readers.registry import READERS
from tasks.replay_command import parse_settings

_NUM_IMAGES, _LIMIT = 64, 12
_MAX_LIMIT = 200
_PREFIX = "render."


def main(arguments: Sequence[str]) -> int:
    """Write the sheet of one dataset; exit status 0."""
    options = _parse(arguments)
    if not (1 <= options.images <= 100_000 and 1 <= options.limit <= _MAX_LIMIT):
        given = f"{options.images} and {options.limit}"
        raise ConfigError(f"--images must be 1 to 100000 and --limit 1 to {_MAX_LIMIT}. Got {given}")
    dataset = options.name or options.reader
    root = "" if options.root is None else str(options.root)
    source = Source(
        dataset=dataset, reader=options.reader, root=root, options=parse_settings(options.option, "--option split=val")
    )
    output = check_output(options.output or Path(f"{dataset}-sheet.png"), ".png", Workspace.default())
    sheet = write_dataset_sheet(source, output, _style(options.set), options.images, options.limit)
    counts = [["records read", sheet.num_images], ["rows of them", sheet.num_rows], ["shown", sheet.num_shown]]
    counts += [[f"not usable: {reason}", count] for reason, count in sorted(sheet.reasons.items())]
    sys.stdout.write(f"{text_table([dataset, 'count'], counts)}\n\nwritten to {output}\n")
    return 0


def _style(given: Sequence[str]) -> RenderOptions:
    """Rendering with ``render.NAME=VALUE`` texts applied. Raises ConfigError."""
    default = RenderOptions()
    known = {field.name: getattr(default, field.name) for field in fields(default)}
    changes: dict[str, Any] = {}
    for text in given:
        name, _, value = text.partition("=")
        bare = name.removeprefix(_PREFIX)
        if not name.startswith(_PREFIX) or bare not in known:
            raise ConfigError(f"--set must be render.NAME=VALUE with one of {', '.join(known)}. Got {text!r}")
        try:
            changes[bare] = type(known[bare])(value)
        except ValueError as error:
            raise ConfigError(f"{name} must be a number. Got {value!r}") from error
    return replace(default, **changes)


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    plain = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog="python -m tasks sheet", description=__doc__, formatter_class=plain)
    parser.add_argument(
        "reader", choices=sorted(READERS), metavar="READER", help=f"one of {', '.join(sorted(READERS))}"
    )
    parser.add_argument("root", type=Path, nargs="?", help="the dataset's folder; left out where the reader has none")
    parser.add_argument("--option", action="append", default=[], metavar="NAME=VALUE", help="of the reader; repeatable")
    parser.add_argument("--name", help="of the dataset, in the captions (default: the reader's)")
    parser.add_argument("--output", type=Path, metavar="FILE", help="the PNG (default: NAME-sheet.png here)")
    parser.add_argument(
        "--images", type=int, default=_NUM_IMAGES, help="records to read from the beginning (default: %(default)s)"
    )
    parser.add_argument("--limit", type=int, default=_LIMIT, help="blocks to show (default: %(default)s)")
    parser.add_argument(
        "--set", action="append", default=[], metavar="render.NAME=VALUE", help="how samples are drawn; repeatable"
    )
    return parser.parse_args(arguments)
