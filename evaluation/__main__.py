"""``python -m evaluation``: see `evaluation.commands`."""

import sys

from catalog.command_line import run
from evaluation.commands import main

if __name__ == "__main__":
    sys.exit(run(main))
