"""List every reader: what it gives, and what its folder must hold.

    python -m tasks sources
    python -m tasks sources magicbrush

With a name: that dataset's layouts and traps, and the options of its reader.
"""

import argparse
import inspect
import json
import sys
from collections.abc import Sequence
from typing import Any

from catalog.errors import ConfigError
from catalog.reports import text_table
from tasks.readers.descriptions import DESCRIPTIONS
from tasks.readers.registry import READERS


def main(arguments: Sequence[str]) -> int:
    """Print the list, or one reader's documentation; exit status 0."""
    parser = argparse.ArgumentParser(
        prog="python -m tasks sources", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("name", nargs="?", metavar="NAME", help="a reader (default: list all)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    options = parser.parse_args(arguments)
    if options.name is not None and options.name not in READERS:
        raise ConfigError(f"a reader must be one of {', '.join(sorted(READERS))}. Got {options.name!r}")
    names = sorted(READERS) if options.name is None else [options.name]
    if options.json:
        sys.stdout.write(json.dumps([_facts(name) for name in names], indent=2) + "\n")
    elif options.name is None:
        rows = [[name, DESCRIPTIONS[name].gives, DESCRIPTIONS[name].needs] for name in names]
        sys.stdout.write(text_table(["reader", "gives", "needs, below its root"], rows))
        sys.stdout.write(f"\n\n{len(rows)} readers. More about one: python -m tasks sources NAME\n")
    else:
        facts = _facts(options.name)
        sys.stdout.write(f"{facts['about']}\n\n{facts['options']}\n")
    return 0


def _facts(name: str) -> dict[str, Any]:
    reader = READERS[name]
    return {
        "name": name,
        "gives": DESCRIPTIONS[name].gives,
        "needs": DESCRIPTIONS[name].needs,
        "about": inspect.getdoc(inspect.getmodule(reader)) or "",
        "options": inspect.getdoc(reader) or "",
    }
