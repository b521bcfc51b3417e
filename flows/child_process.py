"""Children that never outlive us: start, stream, stop.

A child runs in a session of its own, so Ctrl-C reaches only its parent, which stops it in order. On Linux
the kernel signals it if the parent is killed, and `stop_tree` also ends grandchildren that made sessions of
their own (the ranks of torchrun do). Elsewhere the process group is stopped, which is all there is.
"""

import ctypes
import os
import queue
import re
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO

from catalog.errors import ConfigError

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None
_TAIL_LINES = 30


class ChildFailed(RuntimeError):
    """A child ended with a non-zero status; the message is its own "error: ..." sentence, else its last lines."""


def start_child(
    command: Sequence[str],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    stdin: int | None = subprocess.DEVNULL,
    stdout: int | IO[str] | None = None,
    death_signal: int = signal.SIGTERM,
) -> "subprocess.Popen[str]":
    """Start ``command`` in its own session; it gets ``death_signal`` if this thread's process dies.

    Call it from a thread that lives as long as the child: Linux sends the signal when the thread ends.
    """
    parent = os.getpid()

    def prepare() -> None:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # a background shell job inherits SIGINT ignored
        if _LIBC is not None:
            _LIBC.prctl(_PR_SET_PDEATHSIG, int(death_signal))
            if os.getppid() != parent:  # it died before the line above
                os._exit(1)

    return subprocess.Popen(
        list(command),
        cwd=cwd,
        env=None if env is None else dict(env),
        stdin=stdin,
        stdout=stdout,
        stderr=subprocess.STDOUT if stdout is not None else None,
        text=True,
        errors="replace",
        start_new_session=True,
        preexec_fn=prepare,  # system calls only: safe after fork
    )


def add_options(command: Sequence[str], options: Sequence[str] | None) -> list[str]:
    """A flow's command line with a user's further options at its end.

    Raises:
        ConfigError: one of them says again what the flow says; also in part, as argparse takes it.
    """
    own = [part for part in command if part.startswith("--")]
    for text in options or ():
        name = text.partition("=")[0]
        if name.startswith("--") and any(one.startswith(name) for one in own):
            raise ConfigError(
                f"options must not repeat what the flow gives itself ({', '.join(own)}). Got {text!r}: "
                "use the flow's own parameter"
            )
    return [*command, *(options or ())]


def run_child(
    command: Sequence[str],
    *,
    log: Callable[[str], None],
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    grace_seconds: float = 20.0,
) -> None:
    """Run ``command`` to its end and hand each line that it writes to ``log``.

    Whatever ends this call early (an exception, SIGTERM turned into one) stops the child and all below it.

    Raises:
        ChildFailed: it ended with another status than 0.
    """
    child = start_child(command, cwd=cwd, env=env, stdout=subprocess.PIPE)
    tail: deque[str] = deque(maxlen=_TAIL_LINES)
    said = ""
    try:
        for line in _lines_until_exit(child):
            tail.append(line)
            said = said or _error_in(line)
            log(line)
    finally:
        stop_tree(child, grace_seconds=grace_seconds)
    if child.returncode and said:  # a user's mistake: its one sentence, not the launcher's report around it
        raise ChildFailed(said)
    if child.returncode:
        raise ChildFailed(
            f"`{' '.join(command)}` ended with status {child.returncode}. Its last lines:\n" + "\n".join(tail)
        )


def _error_in(line: str) -> str:
    """The sentence of a command's "error: ...", or of its parser's "PROGRAM: error: ..."; empty for another line."""
    found = re.match(r"(?:python -m [a-z. -]+: )?error: (.*)", line)
    return found.group(1) if found else ""


def stop_tree(child: "subprocess.Popen[str]", *, grace_seconds: float) -> None:
    """Ask the child to end (SIGTERM), wait, then kill it and every process that descends from it."""
    below = descendants(child.pid)
    if child.poll() is None:
        child.terminate()
        deadline = time.monotonic() + grace_seconds
        while child.poll() is None and time.monotonic() < deadline:
            below |= descendants(child.pid)
            time.sleep(0.05)
    below |= descendants(child.pid)
    if child.poll() is None:
        child.kill()
    _kill_group(child.pid)
    for process, started in below:
        if _start_time(process) == started:  # not another process under a used number
            _kill(process)
    child.wait()


def adopt_orphans() -> None:
    """Make this process the parent of descendants whose own parent dies, so `descendants` finds them."""
    if _LIBC is not None:
        _LIBC.prctl(_PR_SET_CHILD_SUBREAPER, 1)


def stop_descendants() -> None:
    """Kill and reap every process below this one."""
    while found := descendants(os.getpid()):
        for process, _ in found:
            _kill(process)
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return
        time.sleep(0.02)


def descendants(root: int) -> set[tuple[int, int]]:
    """Processes below ``root`` as (pid, start time in clock ticks). Empty where there is no /proc."""
    children: dict[int, list[tuple[int, int]]] = {}
    for entry in Path("/proc").glob("[0-9]*"):
        fields = _stat_fields(int(entry.name))
        if fields and fields[0] != "Z":
            children.setdefault(int(fields[1]), []).append((int(entry.name), int(fields[19])))
    found: set[tuple[int, int]] = set()
    frontier = [root]
    while frontier:
        for process in children.get(frontier.pop(), []):
            found.add(process)
            frontier.append(process[0])
    return found


def _lines_until_exit(child: "subprocess.Popen[str]") -> Iterator[str]:
    """Lines as they come; ends with the child even where a grandchild still holds the pipe."""
    lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
    pipe = child.stdout
    assert pipe is not None

    def read() -> None:
        for line in pipe:
            lines.put(line.rstrip("\n"))
        lines.put(None)

    threading.Thread(target=read, daemon=True).start()
    exited_at: float | None = None
    while True:
        try:
            line = lines.get(timeout=0.2)
            if line is None:
                child.wait()
                return
            yield line
        except queue.Empty:
            if child.poll() is not None:
                exited_at = exited_at or time.monotonic()
                if time.monotonic() - exited_at > 2.0:
                    return


def _stat_fields(process: int) -> list[str]:
    """Fields 3.. of /proc/PID/stat: state, parent, ..., start time at index 19."""
    try:
        text = Path(f"/proc/{process}/stat").read_text()
    except OSError:
        return []
    return text.rpartition(")")[2].split()


def _start_time(process: int) -> int | None:
    fields = _stat_fields(process)
    return int(fields[19]) if fields else None


def _kill(process: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(process, signal.SIGKILL)


def _kill_group(leader: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, signal.SIGKILL)
