"""``python -m tasks``: see `tasks.commands`."""

import sys

from catalog.command_line import run
from tasks.commands import main

if __name__ == "__main__":
    sys.exit(run(main))
