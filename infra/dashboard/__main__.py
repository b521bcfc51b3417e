"""Starts the dashboard: ``python -m infra.dashboard``, or ``make dashboard``."""

import argparse
import errno
import os
import socket
import sys
from collections.abc import Sequence
from pathlib import Path

from catalog.command_line import run
from catalog.errors import ConfigError
from catalog.workspace import HOME_VARIABLE, Workspace

DEFAULT_PORT = 8501
_ADDRESS_RULE = "--address must be one of this machine's."
_ADDRESS_REMEDY = "leave it away for this machine alone, or say 0.0.0.0 for all that reach it"


def main(arguments: Sequence[str]) -> int:
    """Serve the pages until Ctrl-C."""
    parser = argparse.ArgumentParser(prog="python -m infra.dashboard", description=__doc__)
    parser.add_argument("--home", type=Path, help=f"the workspace (default: ${HOME_VARIABLE}, else this folder)")
    parser.add_argument("--port", type=int, help=f"0: any free one (default: {DEFAULT_PORT}, or 0 if taken)")
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
    port = find_port(options.address, options.port)
    from infra.dashboard.server import serve  # a mistake above is told before a second of imports

    def announce(served: int) -> None:
        host = f"[{options.address}]" if ":" in options.address else options.address
        sys.stdout.write(f"dashboard of {home}: http://{host}:{served}  (Ctrl-C stops it)\n")
        sys.stdout.flush()

    serve(options.address, port, announce)
    return 0


def find_port(address: str, wanted: int | None) -> int:
    """The port to listen at: the wanted one; without one the usual, or 0 (any that is free) where that is taken.

    Raises:
        ConfigError: the wanted one is no port, or cannot be listened at, or the address is not this machine's.
    """
    if not address:  # an empty variable of the shell would open the pages to all
        raise ConfigError(f"{_ADDRESS_RULE} Got none: {_ADDRESS_REMEDY}")
    port = DEFAULT_PORT if wanted is None else wanted
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except (TypeError, ValueError) as error:  # no name that a host can have
            raise ConfigError(f"{_ADDRESS_RULE} Got {address!r}: {_ADDRESS_REMEDY}") from error
        except OverflowError as error:
            raise ConfigError(f"a port is a number from 0 to 65535. Got {port}: choose another with --port") from error
        except OSError as error:
            if wanted is None and error.errno == errno.EADDRINUSE:
                return 0
            if error.errno in (errno.EADDRINUSE, errno.EACCES):
                raise ConfigError(f"port {port} is taken or not ours: choose another with --port") from error
            raise ConfigError(f"{_ADDRESS_RULE} Got {address!r}: {_ADDRESS_REMEDY}") from error
    return port


if __name__ == "__main__":
    sys.exit(run(main))
