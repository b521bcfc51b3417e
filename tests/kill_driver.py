"""Builds in child processes that kill themselves at a chosen file operation; used by test_kill.py.

``python kill_driver.py HOME PROFILE WORKERS FIRST STEP``: first counts the file operations of an undisturbed
build, then for every STEP-th operation from FIRST forks a build into a fresh folder that dies by SIGKILL right
before it, and again right after it, runs it once more undisturbed, and compares every byte: shards, manifest,
verdicts and mix. Prints one JSON line.
"""

import hashlib
import json
import os
import shutil
import signal
import sys
import threading
from itertools import islice
from pathlib import Path

import cv2
import pandas  # noqa: F401 - pyarrow imports it when it first makes a table; here once, not in each forked child
from plain_build import build

from catalog.mix_plans import MixPlan
from catalog.mixes import build_mix
from catalog.policies import Policy
from catalog.workspace import Workspace
from tasks.listing import open_source
from tasks.profiles import Profile, read_profile
from tasks.step_calls import find_function, load_role
from tasks.steps import STEPS

INFRA = Path(__file__).parents[1] / "infra"
OPERATIONS = ("write", "fsync", "replace", "rename", "unlink", "ftruncate", "open", "mkdir")


def files(home: Path) -> dict[str, str]:
    """Every file below ``home`` by its digest."""
    return {
        path.relative_to(home).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(home.rglob("*"))
        if path.is_file()
    }


def count_operations(deadly: int | None, after: bool, counter: list[int]) -> None:
    """Count calls of ``os`` that change files; die at number ``deadly``, before or after it has happened."""
    lock = threading.Lock()

    def wrap(real):
        def counted(*args, **kwargs):
            with lock:
                number = counter[0]
                counter[0] += 1
            if number == deadly and not after:
                os.kill(os.getpid(), signal.SIGKILL)
            try:
                return real(*args, **kwargs)
            finally:  # also after an operation that was refused
                if number == deadly:
                    os.kill(os.getpid(), signal.SIGKILL)

        return counted

    for name in OPERATIONS:
        setattr(os, name, wrap(getattr(os, name)))


def fork(work) -> tuple[int, str]:
    """Run ``work`` in a forked child; returns its wait status and what it sent back."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reading)
        status = 1
        try:
            os.write(writing, str(work()).encode())
            status = 0
        finally:
            os._exit(status)
    os.close(writing)
    with os.fdopen(reading) as answer:
        text = answer.read()
    return os.waitpid(pid, 0)[1], text


def warm(profile: Profile) -> None:
    """Import and cache whatever a build needs, so that each forked build is quick; starts no thread."""
    import scipy.spatial.distance  # noqa: F401 - the quality scorer imports it when it first runs

    cv2.setNumThreads(1)
    for step in STEPS.values():
        find_function(step)
        for role in step.roles:
            load_role(profile, role)
    for source in profile.sources:
        reader = open_source(source)
        for record in islice(reader.read(), 8):
            if reader.root is None:
                reader.fetch(record.file)


def main() -> None:
    """See the module's docstring."""
    home, profile_path, workers, first, step = sys.argv[1:]
    profile = read_profile(Path(profile_path))
    policy = Policy.read(INFRA / "policies" / "embedded.toml")
    plan = MixPlan.read(INFRA / "mixes" / "demo.toml")
    warm(profile)

    def run(folder: Path, deadly: int | None = None, after: bool = False) -> tuple[int, str]:
        def work() -> int:
            counter = [0]
            count_operations(deadly, after, counter)
            workspace = Workspace(folder)
            build(workspace, profile, int(workers))
            build_mix(workspace, [profile.name], policy, plan, workspace.catalog / "mix.parquet", threads=1)
            return counter[0]

        return fork(work)

    status, answer = run(Path(home) / "undisturbed")
    assert status == 0, "the undisturbed build failed"
    expected, num_operations = files(Path(home) / "undisturbed"), int(answer)
    killed, wrong = 0, []
    for deadly in range(int(first), num_operations, int(step)):
        for after in (False, True):
            folder = Path(home) / "killed"
            shutil.rmtree(folder, ignore_errors=True)
            status, _ = run(folder, deadly, after)
            killed += os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
            again, _ = run(folder)
            if again != 0 or files(folder) != expected:
                wrong.append([deadly, after])
    print(json.dumps({"operations": num_operations, "killed": killed, "wrong": wrong, "files": len(expected)}))


if __name__ == "__main__":
    main()
