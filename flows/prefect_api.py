"""The few calls to a Prefect server that need no Prefect client: plain JSON over HTTP, standard library only."""

import json
import time
import urllib.error
import urllib.request
from typing import Any

_TIMEOUT_SECONDS = 30
FINAL_STATES = {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}
_PAGE = 200
_BUSY = 503  # what the server says while SQLite is locked by one of its own services
_BUSY_SECONDS = 30.0


class PrefectApi:
    """One server, by its URL (``http://127.0.0.1:4200/api``)."""

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """Send ``body`` as JSON and return the answer; asks again while the server's database is busy.

        Raises:
            OSError: nothing answers, or the answer is an error (urllib.error.HTTPError).
        """
        deadline = time.monotonic() + _BUSY_SECONDS
        while True:
            try:
                return self._call_once(method, path, body)
            except urllib.error.HTTPError as error:
                if error.code != _BUSY or time.monotonic() > deadline:
                    raise
            time.sleep(0.5)

    def _call_once(self, method: str, path: str, body: Any) -> Any:
        request = urllib.request.Request(
            self.url + path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS) as response:
            text = response.read()
        return json.loads(text) if text else None

    def is_healthy(self) -> bool:
        """Whether the server answers."""
        try:
            return self._call_once("GET", "/health", None) is True
        except (OSError, ValueError):
            return False

    def has_work_pool(self, name: str) -> bool:
        """Whether a work pool exists (a worker makes its own when it starts)."""
        try:
            self.call("GET", f"/work_pools/{name}")
        except urllib.error.HTTPError as error:
            if error.code == 404:
                return False
            raise
        return True

    def limit_tag(self, tag: str, limit: int) -> None:
        """At most ``limit`` running tasks with ``tag``, over all flows. Replaces an earlier limit."""
        self.call("POST", "/concurrency_limits/", {"tag": tag, "concurrency_limit": limit})

    def read_state(self, flow_run: str) -> tuple[str, str, str]:
        """A flow run's state: type ("RUNNING"), name ("Retrying") and message."""
        run = self.call("GET", f"/flow_runs/{flow_run}")
        state = run.get("state") or {}
        return state.get("type", "PENDING"), state.get("name", "Pending"), state.get("message") or ""

    def unfinished_runs(self) -> list[str]:
        """Ids of all flow runs that have not come to an end."""
        wanted = {"operator": "and_", "state": {"type": {"not_any_": sorted(FINAL_STATES)}}}
        found: list[str] = []
        while True:
            page = {"limit": _PAGE, "offset": len(found), "sort": "ID_DESC"}
            runs = self.call("POST", "/flow_runs/filter", {"flow_runs": wanted, **page})
            found += [run["id"] for run in runs]
            if len(runs) < _PAGE:
                return found

    def force_state(self, flow_run: str, state: str, message: str) -> None:
        """Set a flow run's state whatever it was."""
        body = {"state": {"type": state, "message": message}, "force": True}
        self.call("POST", f"/flow_runs/{flow_run}/set_state", body)

    def cancel(self, flow_run: str, message: str) -> None:
        """End a flow run: a running one is stopped by its worker, one that waits is not picked up."""
        kind, _, _ = self.read_state(flow_run)
        if kind not in FINAL_STATES:
            self.force_state(flow_run, "CANCELLING" if kind == "RUNNING" else "CANCELLED", message)

    def count_tasks(self, flow_run: str) -> tuple[int, int]:
        """Task runs of a flow run: (ended, all that exist so far)."""
        runs = {"id": {"any_": [flow_run]}}
        total = self.call("POST", "/task_runs/count", {"flow_runs": runs})
        ended = {"state": {"type": {"any_": sorted(FINAL_STATES)}}}
        return self.call("POST", "/task_runs/count", {"flow_runs": runs, "task_runs": ended}), total

    def last_log(self, flow_run: str) -> str:
        """The last line that a flow run itself logged (not its tasks); empty before the first."""
        wanted = {"flow_run_id": {"any_": [flow_run]}, "task_run_id": {"is_null_": True}}
        logs = self.call("POST", "/logs/filter", {"logs": wanted, "limit": 1, "sort": "TIMESTAMP_DESC"})
        return str(logs[0]["message"]).strip().splitlines()[0] if logs and logs[0]["message"].strip() else ""
