"""Run one deployment the way a user does, ``prefect deployment run NAME``, and follow it on the terminal."""

import re
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from rich.console import Console

from catalog.errors import UserError
from catalog.workspace import Workspace
from flows.local_server import REPOSITORY, prefect_command, prefect_environment
from flows.prefect_api import FINAL_STATES, PrefectApi

_POLL_SECONDS = 0.5
_QUIET_SECONDS = 15.0  # between lines where the terminal cannot redraw one


class StageFailed(UserError):
    """A flow run did not complete; the message says why and where to look."""


@dataclass(frozen=True)
class StageRun:
    """A flow run that completed."""

    flow: str
    flow_run: str
    message: str
    seconds: float
    """Wall time, from the command to the final state."""


def run_stage(console: Console, workspace: Workspace, url: str, flow: str, parameters: Sequence[str] = ()) -> StageRun:
    """Start the flow's deployment and wait for its end, showing how many tasks are done and the last log line.

    ``parameters`` are texts like "steps=20".

    Raises:
        StageFailed: the command or the run failed.
    """
    start = time.monotonic()
    command = ["prefect", "deployment", "run", flow, *(part for text in parameters for part in ("-p", text))]
    console.print(f"[bold]$ {' '.join(command)}[/]", highlight=False)
    flow_run = _start_run(prefect_command() + command[1:], prefect_environment(workspace, url))
    api = PrefectApi(url)
    try:
        message = _follow(console, api, flow, flow_run, start)
    except BaseException:
        with suppress(OSError):  # without a server: the next start closes what is left open
            api.cancel(flow_run, "the demo was stopped")
        raise
    seconds = time.monotonic() - start
    console.print(f"  {message} [dim]({seconds:.1f} s)[/]", highlight=False, soft_wrap=True)
    return StageRun(flow, flow_run, message, seconds)


def _start_run(command: list[str], environment: Mapping[str, str]) -> str:
    done = subprocess.run(command, cwd=REPOSITORY, env=dict(environment), capture_output=True, text=True, check=False)
    found = re.search(r"UUID: ([0-9a-f-]{36})", done.stdout)
    if done.returncode or not found:
        raise StageFailed(f"`{' '.join(command)}` failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return found.group(1)


def _follow(console: Console, api: PrefectApi, flow: str, flow_run: str, start: float) -> str:
    shown_at = start
    with console.status(f"  {flow}") as status:
        while True:
            kind, name, message = api.read_state(flow_run)
            if kind in FINAL_STATES:
                break
            line = _progress_line(api, flow_run, name, time.monotonic() - start)
            status.update(line)
            if not console.is_terminal and time.monotonic() - shown_at > _QUIET_SECONDS:
                shown_at = time.monotonic()
                console.print(line, highlight=False, no_wrap=True, overflow="ellipsis")
            time.sleep(_POLL_SECONDS)
    if kind != "COMPLETED":
        raise StageFailed(
            f"{flow} ended {name}: {message}\nIts pages: {api.url.removesuffix('/api')}/runs/flow-run/{flow_run}"
        )
    return message


def _progress_line(api: PrefectApi, flow_run: str, state: str, seconds: float) -> str:
    done, _ = api.count_tasks(flow_run)  # how many there will be is not known: only those submitted so far exist
    tasks = f"  {done} task{'s' if done > 1 else ''} done" if done else ""
    last = api.last_log(flow_run).replace("[", "(").replace("]", ")")
    return f"  {state.lower()}  {seconds:5.0f} s{tasks}  [dim]{last[:90]}[/]"
