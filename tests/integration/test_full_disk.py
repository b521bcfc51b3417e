"""A disk that fills up and a folder that cannot be written: one sentence, nothing torn, and the rerun goes on."""

import hashlib
import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from plain_build import build

from catalog.workspace import Workspace
from tasks.profiles import read_profile

ROOT = Path(__file__).parents[2]
PROFILE = """
name = "disk"
images_per_shard = 8
[[source]]
dataset = "synthetic"
reader = "synthetic"
options = { count = 2, seed = 5, size = 96 }
"""


@pytest.fixture
def profile(tmp_path: Path) -> Path:
    backends = "[backends]" + (ROOT / "infra/profiles/embedded.toml").read_text().split("[backends]")[1]
    path = tmp_path / "profile.toml"
    path.write_text(PROFILE + backends)
    return path


@contextmanager
def small_disk(folder: Path, options: str) -> Iterator[None]:
    """A memory file system at ``folder``; needs the right to mount."""
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], capture_output=True)
    if mounted.returncode:
        pytest.skip(f"mounting needs root: {mounted.stderr.decode().strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", folder], check=True)


AS_ANYBODY = ("setpriv", "--inh-caps=-dac_override", "--bounding-set=-dac_override")
"""Before a command: root without its right to write where the folder's mode forbids it."""


def run_build(
    home: Path, profile: Path, limit: int | None = None, before: tuple[str, ...] = ()
) -> subprocess.CompletedProcess[str]:
    def limit_files() -> None:
        if limit is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    command = [*before, sys.executable, "-B", str(ROOT / "tests" / "plain_build.py"), str(home), str(profile)]
    return subprocess.run(command, capture_output=True, text=True, preexec_fn=limit_files, cwd=ROOT)


def files(home: Path) -> dict[str, str]:
    return {
        path.relative_to(home).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in home.rglob("*")
        if path.is_file()
    }


def check_stopped_cleanly(done: subprocess.CompletedProcess[str], home: Path, expected: dict[str, str], word: str):
    assert done.returncode == 2
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1, done.stderr
    assert word in done.stderr
    left = files(home)
    assert not [name for name in left if name.endswith(".tmp")]
    assert left.items() <= expected.items()  # what is there is whole
    assert len(left) < len(expected)


@pytest.fixture
def expected(tmp_path: Path, profile: Path) -> dict[str, str]:
    build(Workspace(tmp_path / "undisturbed"), read_profile(profile))
    return files(tmp_path / "undisturbed")


def test_a_full_disk_stops_with_one_sentence_and_loses_nothing(tmp_path, profile, expected):
    home = tmp_path / "small"
    with small_disk(home, "size=160k"):
        done = run_build(home, profile)
        check_stopped_cleanly(done, home, expected, "disk is full")
        subprocess.run(["mount", "-o", "remount,size=16m", home], check=True)
        assert run_build(home, profile).returncode == 0
        assert files(home) == expected


@pytest.mark.parametrize("limit", [3_000, 30_000, 60_000])
def test_a_write_that_the_system_refuses_half_way_is_undone(tmp_path, profile, expected, limit):
    home = tmp_path / "limited"
    done = run_build(home, profile, limit)
    check_stopped_cleanly(done, home, expected, "too large")
    assert run_build(home, profile).returncode == 0
    assert files(home) == expected


def test_a_read_only_folder_is_one_sentence(tmp_path, profile):
    home = tmp_path / "fixed"
    with small_disk(home, "ro"):
        done = run_build(home, profile)
        assert done.returncode == 2
        assert "read-only" in done.stderr and done.stderr.count("\n") == 1


def test_a_folder_of_somebody_else_is_one_sentence(tmp_path, profile):
    home = tmp_path / "locked"
    home.mkdir(mode=0o555)
    done = run_build(home, profile, before=AS_ANYBODY if os.geteuid() == 0 else ())
    assert done.returncode == 2
    assert "permission denied" in done.stderr and done.stderr.count("\n") == 1
