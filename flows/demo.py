"""``make demo``: real photos to a trained, evaluated checkpoint on this machine, with everything shown.

    python -m flows.demo

Starts a local Prefect server and worker (or uses those of ``make server``), runs forecast, build-ieiw, build-mix,
train, evaluate, build-edit-benchmark and align (both until people answer), each as its own deployment, and prints what
came out. What is finished is recognised: a second run only checks. Nothing is left running, however it ends.
"""

import argparse
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

from rich.console import Console

from catalog.command_line import run
from catalog.workspace import Workspace
from flows.child_process import start_child, stop_tree
from flows.demo_summary import print_summary
from flows.local_server import REPOSITORY, ServerError, running_server
from flows.stage_runs import run_stage

STAGES: dict[str, tuple[str, ...]] = {
    "forecast": (),
    "build-ieiw": (),
    "build-mix": (),
    "train": ('settings={"pictures_every": 60}',),  # pictures of held-out rows, for the dashboard
    "evaluate": ("steps=20", "limit=12"),  # a minute instead of ten; the networks are random anyway
    "build-edit-benchmark": ("per_class=4", "total=12"),  # samples to confirm, on page Confirm
    "align": ("judges=people",),  # variants to choose from, on page Choose of `make dashboard`; it waits for people
}
"""Deployments in order, each with the parameters that differ from its defaults."""
_STOP_SECONDS = 60
_LOG_WIDTH = 120  # columns where the output is not a terminal


def main(arguments: Sequence[str]) -> int:
    """Run the whole chain and print the summary."""
    parser = argparse.ArgumentParser(
        prog="python -m flows.demo", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, _interrupt)
    console = Console(width=None if sys.stdout.isatty() else _LOG_WIDTH)
    workspace = Workspace.default()
    with _server(console, workspace) as url:
        runs = [run_stage(console, workspace, url, *stage) for stage in STAGES.items()]
    print_summary(console, workspace, runs)
    return 0


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


@contextmanager
def _server(console: Console, workspace: Workspace) -> Iterator[str]:
    """The local server's URL: one that runs already, or one of our own until we are done."""
    if url := running_server(workspace):
        console.print(f"using the Prefect server at {url}")
        yield url
        return
    keeper = start_child(
        [sys.executable, "-m", "flows.local_server", "--until-stdin-closes"],
        cwd=REPOSITORY,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        with console.status("starting the Prefect server and worker (the first start takes half a minute)"):
            url = _wait_until_ready(keeper)
        console.print(f"Prefect server: {url.removesuffix('/api')}", highlight=False)
        yield url
    finally:
        with console.status("stopping the Prefect server and worker"):
            assert keeper.stdin is not None
            keeper.stdin.close()  # its sign to stop
            try:
                keeper.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                stop_tree(keeper, grace_seconds=5)


def _wait_until_ready(keeper: "subprocess.Popen[str]") -> str:
    assert keeper.stdout is not None
    lines = []
    for line in keeper.stdout:
        if line.startswith("ready: "):
            return line.removeprefix("ready: ").strip()
        lines.append(line)
    raise ServerError("".join(lines[1:]).removeprefix("error: ").strip())


if __name__ == "__main__":
    sys.exit(run(main))
