"""``python -m catalog``: see `catalog.commands`."""

import sys

from catalog.command_line import run
from catalog.commands import main

if __name__ == "__main__":
    sys.exit(run(main))
