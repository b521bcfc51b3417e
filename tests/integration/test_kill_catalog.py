"""SIGKILL right before and after file operations of ``python -m catalog decide``, ``mix`` and ``export``, then a rerun.

Afterwards every byte is as if nothing had happened, and no temporary file is left. The mix goes to another folder
than the catalog's, so that the ``roots.json`` beside it is among the operations.

``IEIW_KILL_STRIDE=1 pytest tests/integration/test_kill_catalog.py`` tries every operation (minutes: raise --timeout).

Run as a script, ``test_kill_catalog.py HOME FIRST STEP COMMAND`` is the driver: each command in a forked child.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
PROFILE = """
name = "kill"
images_per_shard = 1
[[source]]
dataset = "synthetic"
reader = "synthetic"
options = { count = 3, seed = 3, size = 64 }
[split]
val = 0.0
test = 0.0
"""
PLAN = 'name = "kill"\nseed = 0\n[[source]]\nname = "all"\nweight = 1.5\n'
COMMANDS = {
    "decide": ["decide", "--build", "kill", "--threads", "1"],
    "mix": ["mix", "--build", "kill", "--threads", "1", "--weights", "plan.toml", "--output", "elsewhere/mix.parquet"],
    "export": ["export", "--format", "datasets", "--output", "exports/all", "--private", "--shard-size", "10KB"],
}
PREPARING = {"decide": [], "mix": ["decide"], "export": ["decide", "whole-mix"]}
COMMANDS["whole-mix"] = COMMANDS["mix"][:-2]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a finished build in ``built`` and the plan."""
    home = tmp_path_factory.mktemp("home")
    (home / "plan.toml").write_text(PLAN)
    (home / "profile.toml").write_text(PROFILE + backends())
    plain = [sys.executable, str(TESTS / "plain_build.py"), str(home / "built"), str(home / "profile.toml")]
    done = subprocess.run(plain, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return home


def backends() -> str:
    """The embedded profile's helper models, with the quickest inpainter."""
    text = (TESTS.parent / "infra" / "profiles" / "embedded.toml").read_text()
    table = "[backends]" + text.partition("\n[backends]")[2].partition("\n[")[0]
    return "\n".join('inpainter = "opencv"' if line.startswith("inpainter") else line for line in table.splitlines())


@pytest.mark.slow
@pytest.mark.parametrize(("command", "first", "stride"), [("decide", 0, 7), ("mix", 1, 19), ("export", 31, 113)])
def test_any_kill_same_bytes(built: Path, command: str, first: int, stride: int) -> None:
    stride = int(os.environ.get("IEIW_KILL_STRIDE", stride))
    first = first if stride > 1 else 0
    driver = [sys.executable, __file__, str(built), str(first), str(stride), command]
    paths = os.pathsep.join(filter(None, [str(TESTS), os.environ.get("PYTHONPATH")]))
    done = subprocess.run(driver, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": paths})
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    assert result["wrong"] == []
    assert result["killed"] == 2 * len(range(first, result["operations"], stride))
    # Each column of each row group is written by its own calls, and each of them is tried.
    assert result["writes"] > {"decide": 20, "mix": 100, "export": 10}[command]


def drive(home: Path, first: int, step: int, command: str) -> dict[str, object]:
    """Count the operations, then kill each STEP-th from FIRST before and after it, rerun and compare."""
    import kill_driver
    from PIL import Image

    from catalog import command_line, commands

    Image.preinit()  # imports Pillow's formats once, not in each forked child
    os.chdir(home)
    prepared = home / "prepared"
    shutil.rmtree(prepared, ignore_errors=True)
    shutil.copytree(home / "built", prepared)

    def run(folder: Path, name: str, deadly: int | None = None, after: bool = False) -> tuple[int, str]:
        def work() -> str:
            counts = {"all": [0], "write": [0]}
            os.environ["IEIW_HOME"] = str(folder)
            os.chdir(folder)
            shutil.copy(home / "plan.toml", folder)
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # before the counting begins
            kill_driver.count_operations(deadly, after, counts["all"])
            counted = os.write

            def write(*arguments: object) -> int:
                counts["write"][0] += 1
                return counted(*arguments)

            os.write = write
            status = command_line.run(commands.main, COMMANDS[name])
            assert status == 0, status
            return json.dumps([counts["all"][0], counts["write"][0]])

        return kill_driver.fork(work)

    for name in PREPARING[command]:
        assert run(prepared, name)[0] == 0
    calm = home / "undisturbed"
    shutil.rmtree(calm, ignore_errors=True)
    shutil.copytree(prepared, calm)
    status, answer = run(calm, command)
    assert status == 0, "the undisturbed command failed"
    operations, writes = json.loads(answer)
    expected, killed, wrong = kill_driver.files(calm), 0, []
    for deadly in range(first, operations, step):
        for after in (False, True):
            folder = home / "killed"
            shutil.rmtree(folder, ignore_errors=True)
            shutil.copytree(prepared, folder)
            status, _ = run(folder, command, deadly, after)
            killed += os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
            again, _ = run(folder, command)
            if again != 0 or kill_driver.files(folder) != expected:
                wrong.append([deadly, after])
    return {"operations": operations, "writes": writes, "killed": killed, "wrong": wrong}


if __name__ == "__main__":
    print(json.dumps(drive(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4])))
