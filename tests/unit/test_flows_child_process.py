"""Children are streamed, their failures carry their last lines, and nothing of them is left, however it ends."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from catalog.errors import ConfigError
from flows.child_process import ChildFailed, add_options, descendants, run_child

# A child that starts a grandchild in a session of its own (as torchrun does) and tells its process id.
WITH_GRANDCHILD = """
import subprocess, sys, time
below = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], start_new_session=True)
print(below.pid, flush=True)
time.sleep(60)
"""


def is_alive(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_until_gone(processes: list[int], seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if not any(is_alive(process) for process in processes):
            return
        time.sleep(0.05)
    raise AssertionError(f"still alive: {[process for process in processes if is_alive(process)]}")


def test_lines_are_streamed_in_order_and_both_streams_are_seen():
    lines: list[str] = []
    code = "import sys\nfor i in range(200): print(i, file=sys.stderr if i % 2 else sys.stdout, flush=True)"
    run_child([sys.executable, "-c", code], log=lines.append)
    assert lines == [str(i) for i in range(200)]


def test_a_failure_carries_status_and_last_lines():
    code = "[print('line', i) for i in range(100)]; raise SystemExit(3)"
    with pytest.raises(ChildFailed) as caught:
        run_child([sys.executable, "-c", code], log=lambda line: None)
    assert "status 3" in str(caught.value) and str(caught.value).endswith("line 99")
    assert "line 10\n" not in str(caught.value)


def test_a_child_killed_by_a_signal_is_a_failure():
    code = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
    with pytest.raises(ChildFailed, match="-9"):
        run_child([sys.executable, "-c", code], log=lambda line: None)


def test_an_exception_stops_child_and_grandchild():
    before = descendants(os.getpid())
    seen: list[int] = []

    def stop_at_first(line: str) -> None:
        seen.append(int(line))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_child([sys.executable, "-c", WITH_GRANDCHILD], log=stop_at_first)
    wait_until_gone(seen)
    assert descendants(os.getpid()) <= before


def test_a_child_that_ignores_sigterm_is_killed_after_the_grace_time():
    before = descendants(os.getpid())
    code = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"

    def stop(line: str) -> None:
        raise KeyboardInterrupt

    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        run_child([sys.executable, "-c", code], log=stop, grace_seconds=0.5)
    assert 0.4 < time.monotonic() - start < 10
    assert descendants(os.getpid()) <= before


def test_a_grandchild_that_holds_the_pipe_does_not_hang_us():
    before = descendants(os.getpid())
    code = (
        "import subprocess, sys\n"
        "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        "print('done', flush=True)"
    )
    lines: list[str] = []
    start = time.monotonic()
    run_child([sys.executable, "-c", code], log=lines.append)
    assert lines == ["done"] and time.monotonic() - start < 20
    assert descendants(os.getpid()) <= before


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's death signal is Linux's")
def test_a_killed_parent_takes_its_child_with_it():
    code = (
        "import sys\n"
        "from flows.child_process import run_child\n"
        "child = 'import os, time; print(os.getpid(), flush=True); time.sleep(60)'\n"
        "run_child([sys.executable, '-c', child], log=lambda line: print(line, flush=True))"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    wait_until_gone([child])


def test_a_parsers_sentence_is_the_message_too():
    with pytest.raises(ChildFailed, match=r"^unrecognized arguments: --bogus$"):
        run_child([sys.executable, "-m", "evaluation", "unseen", "--control=oracle", "--bogus"], log=lambda line: None)


def test_further_options_say_nothing_that_the_flow_says():
    command = ["python", "--output", "here", "--steps=2"]
    assert add_options(command, None) == command
    assert add_options(command, ["--size", "64", "-x"]) == [*command, "--size", "64", "-x"]
    for option in ("--output", "--output=there", "--outp"):
        with pytest.raises(ConfigError, match="options must not repeat what the flow gives itself"):
            add_options(command, [option, "there"])


def test_a_childs_own_sentence_is_the_message():
    script = "import sys; print('error: num_steps must be 1 or more'); print('Traceback ...'); sys.exit(1)"
    with pytest.raises(ChildFailed) as caught:
        run_child([sys.executable, "-c", script], log=lambda line: None)
    assert str(caught.value) == "num_steps must be 1 or more"
