"""Starts the dashboard: ``python -m infra.dashboard``, or ``make dashboard``."""

import argparse
import os
import socket
import sys
from collections.abc import Sequence
from pathlib import Path

from catalog.command_line import run
from catalog.errors import ConfigError
from catalog.workspace import HOME_VARIABLE, Workspace

DEFAULT_PORT = 8501


def main(arguments: Sequence[str]) -> int:
    """Serve the pages until Ctrl-C."""
    parser = argparse.ArgumentParser(prog="python -m infra.dashboard", description=__doc__)
    parser.add_argument("--home", type=Path, help=f"the workspace (default: ${HOME_VARIABLE}, else this folder)")
    parser.add_argument("--port", type=int, help=f"default: {DEFAULT_PORT}, or a free one where that is taken")
    parser.add_argument(
        "--address",
        default="127.0.0.1",
        help="where to listen (default: %(default)s, this machine alone). There is no password: whoever reaches it can "
        "see all pictures and add labels",
    )
    options = parser.parse_args(arguments)
    if options.home is not None:
        os.environ[HOME_VARIABLE] = str(options.home.absolute())
    home = Workspace.default().home
    if not home.is_dir():
        raise ConfigError(f"the workspace must be a folder. Got {home}: name another with --home or {HOME_VARIABLE}")
    port = _find_port(options.address, options.port)
    sys.stdout.write(f"dashboard of {home}: http://{options.address}:{port}  (Ctrl-C stops it)\n")
    sys.stdout.flush()
    from infra.dashboard.server import serve  # a mistake above is told before a second of imports

    serve(options.address, port)
    return 0


def _find_port(address: str, wanted: int | None) -> int:
    for port in (wanted,) if wanted else (DEFAULT_PORT, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((address, port))
            except OverflowError as error:
                raise ConfigError(f"a port is a number up to 65535. Got {port}") from error
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise ConfigError(f"port {wanted} of {address} is taken or not ours: choose another with --port")


if __name__ == "__main__":
    sys.exit(run(main))
