"""What the terminal says of a flow run under way."""

from typing import Any

import pytest

from flows.prefect_api import PrefectApi
from flows.stage_runs import _progress_line


class Answers(PrefectApi):
    """A server with a flow run of which two more tasks than have ended are submitted."""

    def __init__(self, ended: int) -> None:
        super().__init__("http://127.0.0.1/api")
        self._ended = ended

    def call(self, method: str, path: str, body: Any = None) -> Any:
        if path == "/logs/filter":
            return [{"message": "shard [3] is there\nmore"}]
        assert path == "/task_runs/count"
        return self._ended if "task_runs" in body else self._ended + 2


@pytest.mark.parametrize(("ended", "words"), [(0, ""), (1, "  1 task done"), (249, "  249 tasks done")])
def test_the_line_counts_tasks_done_and_guesses_no_total(ended: int, words: str) -> None:
    line = _progress_line(Answers(ended), "id", "Running", 7.2)
    assert line == f"  running      7 s{words}  [dim]shard (3) is there[/]"
