"""The ledger: every entry comes back, lines of many writers do not mix, a torn line is left out."""

import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import replace
from multiprocessing import get_context

from catalog.ledger import LedgerEntry, append_entry, charge, open_bill, read_entries, utc_now
from catalog.workspace import Workspace

ENTRY = LedgerEntry(
    step="ingest", key="k", seconds=0.5, rows=3, usable=2, made=True, started_at=utc_now(), flow_run="run"
)


def append_many(home: str, writer: int) -> None:
    workspace = Workspace(home)
    for number in range(100):
        append_entry(workspace, replace(ENTRY, key=f"{writer}-{number}" + "x" * 200))


def test_entries_come_back_and_days_are_files(tmp_path):
    workspace = Workspace(tmp_path)
    entries = [replace(ENTRY, started_at=f"2024-01-0{day}T00:00:00.000+00:00") for day in (1, 2)]
    for entry in entries:
        append_entry(workspace, entry)
    assert list(read_entries(workspace)) == entries
    assert [path.name for path in sorted(workspace.ledger.iterdir())] == ["2024-01-01.jsonl", "2024-01-02.jsonl"]


def test_concurrent_writers_do_not_mix_lines(tmp_path):
    with ProcessPoolExecutor(3, mp_context=get_context("spawn")) as pool:
        list(pool.map(append_many, [tmp_path] * 3, range(3)))
    keys = [entry.key.rstrip("x") for entry in read_entries(Workspace(tmp_path))]
    assert sorted(keys) == sorted(f"{writer}-{number}" for writer in range(3) for number in range(100))


def test_a_torn_line_is_left_out(tmp_path):
    workspace = Workspace(tmp_path)
    append_entry(workspace, ENTRY)
    path = next(workspace.ledger.iterdir())
    path.write_text(path.read_text() + '{"step": "ing')
    assert list(read_entries(workspace)) == [ENTRY]


def test_an_empty_workspace_has_no_entries(tmp_path):
    assert list(read_entries(Workspace(tmp_path))) == []


def test_a_bill_holds_what_its_own_thread_was_charged():
    charge(9.0)  # nobody counts

    def work(cost: float) -> float:
        with open_bill() as bill:
            for _ in range(100):
                charge(cost)
                time.sleep(0)
        return bill.cost

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(work, [1.0, 2.0])) == [100.0, 200.0]
    with open_bill() as outer, open_bill() as inner:
        charge(1.0)
    assert (outer.cost, inner.cost) == (0.0, 1.0)
