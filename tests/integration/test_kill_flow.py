"""SIGKILL at random moments of a flow run under a real Prefect server, then a rerun: every byte as a plain build's.

The same server serves the other questions that only a real one can answer: many runs to close, another port.
"""

import hashlib
import os
import random
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from integration.test_flows import LocalServer
from plain_build import build

from catalog.workspace import Workspace
from flows import prefect_api
from flows.child_process import descendants
from flows.local_server import DEFAULT_PORT, REPOSITORY, prefect_command, prefect_environment
from flows.prefect_api import PrefectApi
from tasks.profiles import read_profile

pytestmark = [pytest.mark.server, pytest.mark.slow, pytest.mark.timeout(600)]

SOURCE = {"dataset": "synthetic", "reader": "synthetic", "options": {"count": 8, "seed": 3, "size": 96}}
PROFILE = {"name": "kill", "images_per_shard": 1, "source": [SOURCE], "backends.inpainter": "opencv"}
MOST_NEW_SHARDS = 10
"""A build is killed after 1 to so many shards more than there were; three kills leave it unfinished."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalServer]:
    """A local server that finds port 4200 taken, by us if by nobody else."""
    with ExitStack() as stack:
        taken = stack.enter_context(socket.socket())
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            taken.bind(("127.0.0.1", DEFAULT_PORT))
            taken.listen()
        except OSError:
            pass  # another server has it
        server = LocalServer(tmp_path_factory.mktemp("kill")).start()
        stack.callback(server.stop)
        yield server


def test_a_bare_command_finds_the_server_on_another_port(server: LocalServer) -> None:
    assert f":{DEFAULT_PORT}/" not in server.url
    environment = prefect_environment(server.workspace, server.url)
    del environment["PREFECT_API_URL"]

    def prefect(*arguments: str, **changes: str) -> "subprocess.CompletedProcess[str]":
        command = [*prefect_command(), "deployment", *arguments]
        return subprocess.run(
            command, cwd=REPOSITORY, env={**environment, **changes}, capture_output=True, text=True, timeout=120
        )

    done = prefect("run", "build-ieiw", "-p", "profile=none.toml")
    assert done.returncode == 0, done.stdout + done.stderr
    flow_run = done.stdout.split("UUID: ")[1].split()[0]
    PrefectApi(server.url).force_state(flow_run, "CANCELLED", "it is here, which is all that was asked")

    nowhere = "http://127.0.0.1:9/api"
    done = prefect("run", "build-ieiw", PREFECT_API_URL=nowhere)
    assert done.returncode == 1 and f"no Prefect server answers at {nowhere}" in done.stderr

    done = prefect("ls", IEIW_HOME=__file__)
    assert done.returncode == 1
    assert done.stderr.startswith("error: IEIW_HOME must name a folder") and done.stderr.count("\n") == 1


def test_a_build_killed_at_random_moments_ends_as_a_plain_one(server: LocalServer, tmp_path: Path) -> None:
    rng = random.Random(7)
    for whole_tree in (False, True, False):
        flow_run = server.start().run("build-ieiw", overrides=PROFILE, workers=2)
        wanted = num_shards(server.workspace) + rng.randint(1, MOST_NEW_SHARDS)
        wait_until(lambda wanted=wanted: num_shards(server.workspace) >= wanted)
        time.sleep(rng.uniform(0, 0.2))
        if whole_tree:
            kill_server(server)
        else:
            os.kill(flow_process(server), signal.SIGKILL)
            assert server.wait(flow_run)[0] == "CRASHED"
        assert not server.workspace.manifest_path("kill").exists(), "it was killed after its end"
    assert server.wait(server.run("build-ieiw", overrides=PROFILE, workers=2))[0] == "COMPLETED"

    plain = Workspace(tmp_path / "plain")
    build(plain, read_profile(REPOSITORY / "infra" / "profiles" / "embedded.toml", PROFILE))
    assert committed(server.workspace) == committed(plain)


def committed(workspace: Workspace) -> dict[str, str]:
    """Every file of shards, images and manifests by its digest; temporary files, too."""
    folders = (workspace.catalog / "tables", workspace.data, workspace.catalog / "manifests")
    files = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    assert len(files) > 20
    return {
        path.relative_to(workspace.home).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files
    }


def num_shards(workspace: Workspace) -> int:
    return len(list((workspace.catalog / "tables").glob("*/*.parquet")))


def wait_until(holds, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def flow_process(server: LocalServer) -> int:
    """The process that the worker started for the one flow run that goes on."""
    assert server.process is not None
    found = [pid for pid, _ in descendants(server.process.pid) if is_flow(pid)]
    return min(found)


def is_flow(process: int) -> bool:
    try:
        words = Path(f"/proc/{process}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    return b"flow-run" in words or b"prefect.flow_engine" in words or b"prefect.engine" in words


def kill_server(server: LocalServer) -> None:
    """SIGKILL to the keeper and, at the same time, to all below it."""
    assert server.process is not None
    tree = [server.process.pid, *(pid for pid, _ in descendants(server.process.pid))]
    for process in tree:
        try:
            os.kill(process, signal.SIGKILL)
        except ProcessLookupError:
            continue
    server.process.wait(60)


def test_all_unfinished_runs_are_found_not_one_page_of_them(
    server: LocalServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prefect_api, "_PAGE", 20)
    api = PrefectApi(server.start().url)
    flow = api.call("GET", "/deployments/name/build-ieiw/local")["flow_id"]
    made = {api.call("POST", "/flow_runs/", {"flow_id": flow, "name": f"run {i}"})["id"] for i in range(41)}
    found = api.unfinished_runs()
    assert len(found) == len(set(found)) and made <= set(found)
    api.force_state(found[0], "CRASHED", "closed")
    assert set(api.unfinished_runs()) == set(found[1:])
