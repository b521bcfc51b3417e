"""A Prefect server and a worker on this machine, as long as this process lives.

    python -m flows.local_server          # or: make server

Listens on 127.0.0.1 only (port 4200, or a free one), keeps its database in ``.prefect/`` of the workspace,
deploys prefect.yaml, and stops server, worker, flow runs and trainers when it ends, however it ends:
Ctrl-C, SIGTERM, or end of standard input with ``--until-stdin-closes`` (so it also notices a killed parent).
"""

import argparse
import fcntl
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir
from types import FrameType
from typing import IO

from catalog.command_line import run
from catalog.errors import UserError
from catalog.workspace import Workspace
from flows.child_process import adopt_orphans, start_child, stop_descendants, stop_tree
from flows.prefect_api import PrefectApi

REPOSITORY = Path(__file__).resolve().parents[1]
WORK_POOL = "local"
DEFAULT_PORT = 4200
_START_SECONDS = 180  # a first start makes the database: 16-29 s on 2 cores
_STOP_SECONDS = 15


class ServerError(UserError):
    """The local server or worker did not come up."""


def prefect_home(workspace: Workspace) -> Path:
    """Where the local server keeps its database and logs."""
    return workspace.home / ".prefect"


def prefect_command() -> list[str]:
    """The ``prefect`` program of this environment."""
    return [str(Path(sys.executable).with_name("prefect"))]


def prefect_environment(workspace: Workspace, url: str) -> dict[str, str]:
    """Environment of every ``prefect`` command that talks to the local server."""
    settings = {
        "PREFECT_API_URL": url,
        "PREFECT_HOME": str(prefect_home(workspace)),
        "IEIW_HOME": str(workspace.home),
        "DO_NOT_TRACK": "1",
        "PYTHONUNBUFFERED": "1",
    }
    return {**os.environ, **settings}


@dataclass(frozen=True)
class _Parts:
    """The processes that must live as long as we do."""

    home: Path
    children: Mapping[str, "subprocess.Popen[str]"]

    def check(self) -> None:
        """Raise ServerError where one of them has ended."""
        for name, child in self.children.items():
            if child.poll() is not None:
                raise ServerError(f"the Prefect {name} has ended by itself; {self.home / name}.log says why")


@contextmanager
def local_server(workspace: Workspace, *, port: int | None = None) -> Iterator[tuple[str, "_Parts"]]:
    """Run server and worker with everything deployed; yields the API's URL and the two. From the main thread only.

    Raises:
        ServerError: another local server uses this workspace, or one of the parts did not start.
    """
    home = prefect_home(workspace)
    home.mkdir(parents=True, exist_ok=True)
    adopt_orphans()
    with ExitStack() as stack:
        lock = stack.enter_context((home / "local_server.json").open("a+"))
        _hold(lock)
        scratch = stack.enter_context(TemporaryDirectory(prefix="ieiw-", ignore_cleanup_errors=True))
        stack.callback(stop_descendants)
        url = f"http://127.0.0.1:{_claim_port(stack, port)}/api"
        api, environment = PrefectApi(url), prefect_environment(workspace, url) | {"TMPDIR": scratch}
        server = _start(stack, "server", _server_command(url), environment, home, signal.SIGKILL)
        _wait_until(api.is_healthy, server, "the Prefect server", home / "server.log")
        _close_old_runs(api)
        api.limit_tag("gpu", 1)
        worker = _start(stack, "worker", _worker_command(), environment, home, signal.SIGTERM)
        _wait_until(lambda: api.has_work_pool(WORK_POOL), worker, "the worker", home / "worker.log")
        _deploy(environment)
        stack.callback(_close_old_runs, api)
        _announce(lock, url)
        yield url, _Parts(home, {"server": server, "worker": worker})


def running_server(workspace: Workspace) -> str | None:
    """URL of the local server that another process keeps for this workspace, or None."""
    path = prefect_home(workspace) / "local_server.json"
    if not path.exists():
        return None
    with path.open() as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            text = path.read_text()
            return str(json.loads(text)["url"]) if text else None
    return None


def main(arguments: Sequence[str]) -> int:
    """Keep a server and a worker until told to stop."""
    parser = argparse.ArgumentParser(
        prog="python -m flows.local_server", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--port", type=int, help=f"port on 127.0.0.1 (default {DEFAULT_PORT}, else a free one)")
    parser.add_argument("--until-stdin-closes", action="store_true", help="also stop at end of standard input")
    options = parser.parse_args(arguments)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _interrupt)
    sys.stdout.write("starting the Prefect server and worker (the first start takes half a minute)\n")
    sys.stdout.flush()
    with suppress(KeyboardInterrupt), local_server(Workspace.default(), port=options.port) as (url, parts):
        sys.stdout.write(f"ready: {url}\n")
        sys.stdout.flush()
        if not options.until_stdin_closes:
            if f":{DEFAULT_PORT}/" not in url:  # prefect.toml names the default one, flows/plugin.py finds this one
                sys.stdout.write(f"not on port {DEFAULT_PORT}; outside this folder: export PREFECT_API_URL={url}\n")
            sys.stdout.write(f"see {url.removesuffix('/api')} in a browser; Ctrl-C stops everything\n")
            sys.stdout.flush()
        while not (options.until_stdin_closes and _stdin_closed(seconds=1.0)):
            parts.check()
            if not options.until_stdin_closes:
                time.sleep(1.0)
    return 0


def _stdin_closed(seconds: float) -> bool:
    """Whether standard input ends within ``seconds``; what comes in is not read by anybody."""
    readable, _, _ = select.select([sys.stdin], [], [], seconds)
    return bool(readable) and not os.read(sys.stdin.fileno(), 1 << 16)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)  # stopping has begun; a second signal must not cut it short
    raise KeyboardInterrupt


def _hold(lock: IO[str]) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise ServerError(
            f"another local server uses {Path(lock.name).parent}: stop it, or set IEIW_HOME to another folder"
        ) from error
    lock.truncate(0)


def _announce(lock: IO[str], url: str) -> None:
    lock.seek(0)
    lock.write(json.dumps({"url": url, "pid": os.getpid()}))
    lock.flush()


def _claim_port(stack: ExitStack, wanted: int | None) -> int:
    """A port that nobody listens on, and that no other local server will take while we start.

    The server binds its port only seconds after it was started, so a free port is no promise; the lock is.
    """
    for port in (wanted,) if wanted else (DEFAULT_PORT, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            found = int(probe.getsockname()[1])
            lock = (Path(gettempdir()) / f"ieiw-port-{found}-{os.getuid()}.lock").open("a")
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                lock.close()
                continue
            stack.enter_context(lock)
            return found
    raise ServerError(f"port {wanted or DEFAULT_PORT} of 127.0.0.1 is taken: choose another with --port")


def _server_command(url: str) -> list[str]:
    port = url.removesuffix("/api").rpartition(":")[2]
    return [*prefect_command(), "server", "start", "--host", "127.0.0.1", "--port", port]


def _worker_command() -> list[str]:
    return [*prefect_command(), "worker", "start", "--pool", WORK_POOL, "--type", "process"]


def _start(
    stack: ExitStack,
    name: str,
    command: list[str],
    environment: Mapping[str, str],
    home: Path,
    death_signal: int,
) -> "subprocess.Popen[str]":
    log = stack.enter_context((home / f"{name}.log").open("w"))
    child = start_child(command, cwd=REPOSITORY, env=environment, stdout=log, death_signal=death_signal)
    stack.callback(stop_tree, child, grace_seconds=_STOP_SECONDS)
    return child


def _wait_until(ready: Callable[[], bool], child: "subprocess.Popen[str]", what: str, log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while True:
        is_ready = ready()
        ended = child.poll() is not None  # asked last: another server may answer for ours, which could not start
        if is_ready and not ended:
            return
        if ended or time.monotonic() > deadline:
            tail = "\n".join(log.read_text(errors="replace").splitlines()[-15:])
            raise ServerError(f"{what} did not come up (its log: {log}):\n{tail}")
        time.sleep(0.2)


def _close_old_runs(api: PrefectApi) -> None:
    """Runs that a killed server or worker left open: nobody works on them, for the lock is ours."""
    if not api.is_healthy():  # it has died: the next start closes them
        return
    for flow_run in api.unfinished_runs():
        api.force_state(flow_run, "CRASHED", "the local server was stopped; run it again to go on")


def _deploy(environment: Mapping[str, str]) -> None:
    command = [*prefect_command(), "--no-prompt", "deploy", "--all"]
    done = subprocess.run(command, cwd=REPOSITORY, env=dict(environment), capture_output=True, text=True, check=False)
    if done.returncode:
        raise ServerError(f"`prefect deploy --all` failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")


if __name__ == "__main__":
    sys.exit(run(main))
