"""The dashboard over ten million scored candidates: how soon page Data shows, filters, moves a threshold; its memory.

A synthetic build (`large_build`) is decided by policy paper, served as ``make dashboard`` does, and driven in Chromium.
Times are what a user waits: from the click, or from the address, until the new numbers stand on the page; or, where
other work holds the cores, the CPU seconds that server and browser took for it, if these are less. The first paint is
that of a server that has just been started and has answered nothing yet.
"""

import os
import shutil
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import duckdb
from benchmark_record import CannotRunHere, Record
from large_build import large_workspace, write_build

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from dashboard_site import REPOSITORY, dashboard

from catalog.decisions import decide
from catalog.policies import Policy
from flows.child_process import descendants

NUM_PAIRS = int(os.environ.get("IEIW_BENCH_SHARE", 10)) * 1_000_000  # a share: millions instead of the 10
NUM_SHARDS = 64
PAINT_GOAL, FILTER_GOAL, MEMORY_GOAL = 3.0, 2.0, 1.0  # seconds, seconds, GiB
_STARTS = 3
_PATIENCE = 60_000  # ms


class _Wait(NamedTuple):
    """What a user waits, and the CPU seconds that server and browser take for it: what other work does not stretch."""

    seconds: float
    cpu: float

    @property
    def judged(self) -> float:
        """The wait on free cores: where other work stretched it, no more than the CPU seconds that it took."""
        return min(self.seconds, self.cpu)

    def __str__(self) -> str:
        return f"{self.seconds:.2f} ({self.cpu:.2f})"


@dataclass(frozen=True)
class _Measured:
    paints: list[_Wait]
    """From the address to the numbers, one per server."""
    again: _Wait
    filters: dict[str, _Wait]
    drags: list[_Wait]
    ready: _Wait
    """Seconds from opening Thresholds to the first count: all scores are read once."""
    memory: float
    """GiB: the server's largest resident set."""


def bench_dashboard_first_paint() -> Record:
    """Seconds from typing the address to the numbers of page Data."""
    measured = _measure()
    value = statistics.median(one.judged for one in measured.paints)
    each = ", ".join(map(str, measured.paints))
    return Record(
        name="dashboard_first_paint",
        value=value,
        unit="s",
        against=f"{_about()}; servers just started: {each} s; the same page again {measured.again} s",
        goal=f"<= {PAINT_GOAL:g} s",
        holds=value <= PAINT_GOAL,
    )


def bench_dashboard_filter() -> Record:
    """Seconds that the slowest change of a filter, an order, a page or a threshold takes."""
    measured = _measure()
    waits = {**measured.filters, "threshold moved": max(measured.drags)}
    value = max(one.judged for one in waits.values())
    each = ", ".join(f"{name} {one}" for name, one in waits.items())
    return Record(
        name="dashboard_filter",
        value=value,
        unit="s",
        against=f"{_about()}; the slowest of: {each}; page Thresholds reads all scores once, {measured.ready} s",
        goal=f"<= {FILTER_GOAL:g} s",
        holds=value <= FILTER_GOAL,
    )


def bench_dashboard_memory() -> Record:
    """GiB that the server takes at most, over all that was measured."""
    value = _measure().memory
    return Record(
        name="dashboard_memory",
        value=value,
        unit="GiB",
        against=f"{_about()}; resident set at its largest: every view of page Data, thresholds moved",
        goal=f"<= {MEMORY_GOAL:g} GiB",
        holds=value <= MEMORY_GOAL,
    )


def _about() -> str:
    return (
        f"{NUM_PAIRS:,} candidates, policy paper, Chromium on the same machine, load {os.getloadavg()[0]:.1f}; seconds "
        "(CPU seconds of server and browser)"
    )


@cache
def _measure() -> _Measured:
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        raise CannotRunHere("no Chromium on the PATH")
    policy = replace(Policy.read(REPOSITORY / "infra" / "policies" / "paper.toml"), scorers={})
    with large_workspace("dashboard") as workspace:
        manifest = write_build(workspace, NUM_PAIRS, NUM_SHARDS, scored=True)
        decision = decide(workspace, manifest.name, policy)
        accepted = f"{decision.num_accepted:,}"
        paints = [_paint(chromium, workspace.home, accepted) for _ in range(_STARTS)]
        with dashboard(workspace.home) as (url, pid), _browser(chromium) as page:
            page.goto(url)
            page.value("Accepted", accepted)
            again = _wait(lambda: page.goto(url), lambda: page.value("Accepted", accepted))
            filters = _filter(page, url, decision.manifest.paths(workspace, "verdicts")[0])
            thresholds = f"{url}/?view=thresholds"
            ready = _wait(lambda: page.goto(thresholds), lambda: page.value("Would be accepted", accepted))
            drags = [_drag(page, share) for share in (0.6, 0.3, 0.7)]
            page.goto(f"{url}/?view=review&person=bench")
            page.text("Good")
            memory = _peak(pid)
    return _Measured(paints, again, filters, drags, ready, memory)


def _paint(chromium: str, home: Path, accepted: str) -> _Wait:
    """How long until a server that has just been started shows its numbers."""
    with dashboard(home) as (url, _), _browser(chromium) as page:
        return _wait(lambda: page.goto(url), lambda: page.value("Accepted", accepted))


class _Page:
    """The few things that are done to a page here."""

    def __init__(self, page: Any) -> None:
        self.inner = page

    def goto(self, url: str) -> None:
        self.inner.goto(url)

    def value(self, name: str, text: str) -> None:
        """Wait until a key figure says so."""
        tile = self.inner.locator(".tile", has=self.inner.locator(f'.name:text-is("{name}")'))
        tile.locator(f'.value:text-is("{text}")').wait_for()

    def read(self, name: str) -> str:
        tile = self.inner.locator(".tile", has=self.inner.locator(f'.name:text-is("{name}")'))
        return str(tile.locator(".value").inner_text())

    def text(self, text: str) -> None:
        self.inner.get_by_text(text).first.wait_for()

    def pick(self, label: str, option: str) -> None:
        self.inner.get_by_role("combobox", name=label).click()
        self.inner.get_by_role("option", name=option, exact=True).click()

    def search(self, words: str) -> None:
        field = self.inner.get_by_label("Words in instruction, phrase or id")
        field.fill(words)
        field.press("Enter")

    def first_card(self) -> str:
        return str(self.inner.locator(".card").first.get_attribute("data-id"))

    def other_card(self, before: str) -> None:
        """Wait until the first card is another one."""
        self.inner.locator(f'.gallery > .card:first-child:not([data-id="{before}"])').wait_for()


@contextmanager
def _browser(chromium: str) -> Iterator[_Page]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1440, "height": 1000})
        page.set_default_timeout(_PATIENCE)
        yield _Page(page)
        browser.close()


def _filter(page: _Page, url: str, verdicts: Path) -> dict[str, _Wait]:
    """How long each change takes on view Browse; the counts on the page are those of DuckDB."""

    def count(where: str) -> str:
        sql = f"SELECT count(*) FROM read_parquet({str(verdicts)!r}) WHERE {where}"
        return f"{duckdb.sql(sql).fetchall()[0][0]:,} pairs"

    page.goto(f"{url}/?view=browse")
    page.text(f"{NUM_PAIRS:,} pairs")
    edit, low = "edit_type = 'object_removal'", "condition = 'low_target_aesthetic'"
    counts = {"edit": count(edit), "accepted": count(f"{edit} AND accepted"), "low": count(f"{edit} AND {low}")}
    found = {"edit type": _wait(lambda: page.pick("Edit type", "object_removal"), lambda: page.text(counts["edit"]))}
    fate = "What became of them"
    found["accepted ones"] = _wait(lambda: page.pick(fate, "accepted"), lambda: page.text(counts["accepted"]))
    name = "low target aesthetic"
    found["one condition"] = _wait(lambda: page.pick(fate, name), lambda: page.text(counts["low"]))
    before = page.first_card()
    order = "nearest to the threshold first"
    found["order"] = _wait(lambda: page.pick("Order", order), lambda: page.other_card(before))
    before = page.first_card()
    following = page.inner.get_by_role("button", name="Increment")
    found["next page"] = _wait(following.click, lambda: page.other_card(before))
    page.goto(f"{url}/?view=browse")
    page.text(f"{NUM_PAIRS:,} pairs")
    matches = f"{len(range(4, NUM_PAIRS, 6)):,} pairs"  # `large_build` words every sixth so
    found["words"] = _search(page, "left CAR", matches)
    found["a part of an id"] = _search(page, "c0ff", count("contains(pair_id, 'c0ff')"))
    found["a letter of all"] = _search(page, "t", f"{NUM_PAIRS:,} pairs")
    return found


def _search(page: _Page, words: str, matches: str) -> _Wait:
    """Until the count of other words and their first card are there."""
    before = page.first_card()

    def seen() -> None:
        page.text(matches)
        page.other_card(before)

    return _wait(lambda: page.search(words), seen)


def _drag(page: _Page, share: float) -> _Wait:
    """Move a threshold and wait for the count."""
    before = page.read("Would be accepted")
    box = page.inner.get_by_role("slider", name="threshold of low_target_aesthetic").bounding_box()

    def move() -> None:
        page.inner.mouse.move(box["x"] + box["width"] * (share - 0.1), box["y"] + 50)
        page.inner.mouse.down()
        page.inner.mouse.move(box["x"] + box["width"] * share, box["y"] + 50)
        page.inner.mouse.up()

    tile = page.inner.locator(".tile", has=page.inner.locator('.name:text-is("Would be accepted")'))
    other = tile.locator(f'.value:not(:text-is("{before}"))')
    return _wait(move, other.wait_for)


def _wait(do: Callable[[], object], until: Callable[[], object]) -> "_Wait":
    start, cpu = time.perf_counter(), _cpu_seconds()
    do()
    until()
    return _Wait(time.perf_counter() - start, _cpu_seconds() - cpu)


def _cpu_seconds() -> float:
    """Of all processes that this one has started, server and browser among them."""
    total = 0
    for pid, _ in descendants(os.getpid()):
        with suppress(OSError):
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
            total += int(fields[11]) + int(fields[12])
    return total / os.sysconf("SC_CLK_TCK")


def _peak(pid: int) -> float:
    line = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 2**20
