"""The flows under a real Prefect server and worker, started and driven as a user does.

One server and one workspace serve all tests. What a test needs of another's work it asks for by fixture: the build
``small``, or a whole run from sources to metrics.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from browser_pages import needs_chromium, see
from dashboard_site import dashboard
from PIL import Image
from playwright.sync_api import Page

from catalog.alignment_sets import AlignmentSet
from catalog.choices import read_choices
from catalog.instruction_templates import read_templates
from catalog.ledger import read_entries
from catalog.manifests import read_manifest
from catalog.store import read_metadata
from catalog.workspace import Workspace
from flows.child_process import descendants
from flows.local_server import REPOSITORY, prefect_command, prefect_environment
from flows.prefect_api import FINAL_STATES, PrefectApi
from tasks.forecast import read_forecast

pytestmark = [pytest.mark.server, pytest.mark.slow, pytest.mark.timeout(600)]

SOURCE = {"dataset": "synthetic", "reader": "synthetic", "options": {"count": 12, "seed": 1}}
SMALL = {"name": "small", "images_per_shard": 4, "source": [SOURCE]}


class LocalServer:
    """``python -m flows.local_server`` in a workspace of its own, started when first asked for."""

    def __init__(self, home: Path) -> None:
        self.workspace = Workspace(home)
        self.process: subprocess.Popen[str] | None = None
        self.url = ""

    def start(self) -> "LocalServer":
        if self.process is not None and self.process.poll() is None:
            return self
        self.process = subprocess.Popen(
            [sys.executable, "-m", "flows.local_server", "--until-stdin-closes"],
            cwd=REPOSITORY,
            env={**os.environ, "IEIW_HOME": str(self.workspace.home)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        assert self.process.stdout is not None
        printed = []
        for line in self.process.stdout:
            printed.append(line)
            if line.startswith("ready: "):
                self.url = line.split()[1]
                return self
        raise AssertionError("".join(printed))

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            assert self.process.stdin is not None
            self.process.stdin.close()
            self.process.wait(60)

    def prefect(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [*prefect_command(), *arguments],
            cwd=REPOSITORY,
            env=prefect_environment(self.workspace, self.url),
            capture_output=True,
            text=True,
            timeout=120,
        )

    def run(self, name: str, **parameters: object) -> str:
        """A run as ``prefect deployment run NAME`` asks for it, without starting a command; the flow run's id."""
        api = PrefectApi(self.url)
        deployment = api.call("GET", f"/deployments/name/{name}/local")["id"]
        run = api.call("POST", f"/deployments/{deployment}/create_flow_run", {"parameters": parameters})
        return str(run["id"])

    def run_by_command(self, name: str, **parameters: object) -> str:
        """``prefect deployment run NAME``; returns the flow run's id."""
        options = [part for key, value in parameters.items() for part in ("-p", f"{key}={json.dumps(value)}")]
        done = self.prefect("deployment", "run", name, *options)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout.split("UUID: ")[1].split()[0]

    def wait(self, flow_run: str, seconds: float = 180) -> tuple[str, str]:
        """Type and message of the state that the run ends in."""
        api, deadline = PrefectApi(self.url), time.monotonic() + seconds
        while time.monotonic() < deadline:
            kind, _, message = api.read_state(flow_run)
            if kind in FINAL_STATES:
                return kind, message
            time.sleep(0.3)
        log = (self.workspace.home / ".prefect" / "worker.log").read_text()[-3000:]
        raise AssertionError(f"{flow_run} did not end in {seconds} s; the worker's log ends:\n{log}")


@pytest.fixture(scope="module")
def the_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalServer]:
    server = LocalServer(tmp_path_factory.mktemp("flows"))
    yield server
    server.stop()


@pytest.fixture
def server(the_server: LocalServer) -> LocalServer:
    return the_server.start()


@pytest.fixture(scope="module")
def small_build(the_server: LocalServer) -> str:
    """The build ``small``; the id of the flow run that made it, asked for by its bare name."""
    server = the_server.start()
    run = server.run_by_command("build-ieiw", overrides=SMALL)
    assert server.wait(run)[0] == "COMPLETED"
    return run


PLAN = 'name = "small"\nseed = 0\n[[source]]\nname = "all"\nweight = 1.0\n'


@pytest.fixture(scope="module")
def plan(the_server: LocalServer) -> Path:
    """A mix file that draws each pair of a build once."""
    path = the_server.workspace.home / "plan.toml"
    path.write_text(PLAN)
    return path


@pytest.fixture(scope="module")
def whole_run(the_server: LocalServer, plan: Path) -> tuple[str, str]:
    """Flow run-all: the mix ``catalog/mix.parquet``, a run of recipe demo and its metrics; how the flow run ended."""
    server = the_server.start()
    parameters = {
        "build-ieiw": {"overrides": SMALL},
        "build-mix": {"builds": ["small"], "plan": str(plan)},
        "train": {"settings": {"num_steps": 2, "image_size": 32, "global_batch_size": 2, "micro_batch_size": 2}},
        "evaluate": {"steps": 1, "limit": 1},
    }
    return server.wait(server.run("run-all", parameters=parameters), seconds=300)


def committed_files(workspace: Workspace) -> dict[str, tuple[int, int]]:
    """Every shard, image tar and manifest with size and time of change."""
    folders = (workspace.catalog / "tables", workspace.data, workspace.catalog / "manifests")
    files = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    return {str(path): (path.stat().st_size, path.stat().st_mtime_ns) for path in files}


def artifact_keys(server: LocalServer, flow_run: str) -> set[str]:
    wanted = {"artifacts": {"flow_run_id": {"any_": [flow_run]}}}
    return {artifact["key"] for artifact in PrefectApi(server.url).call("POST", "/artifacts/filter", wanted)}


def test_the_bare_name_builds_and_the_stock_form_finds_everything_done(server, small_build):
    first = small_build
    manifest = read_manifest(server.workspace, "small")
    assert {"listings", "regions", "edits", "pairs", "references", "scores"} <= manifest.tables.keys()
    assert {"build-rows", "build-shards", "contact-sheet"} <= artifact_keys(server, first)
    assert PrefectApi(server.url).call("GET", "/concurrency_limits/tag/gpu")["concurrency_limit"] == 1
    before = committed_files(server.workspace)

    second = server.run_by_command("build-ieiw/local", overrides=SMALL, workers=4)
    kind, message = server.wait(second)
    assert kind == "COMPLETED" and f"({len(made_by(server, first))} were there already)" in message
    assert made_by(server, second) == []
    wanted = {"flow_runs": {"id": {"any_": [second]}}}
    tasks = PrefectApi(server.url).call("POST", "/task_runs/filter", wanted)
    assert [task["name"] for task in tasks] == ["list synthetic"], "what is there starts no task"
    changed = {path for path, mark in committed_files(server.workspace).items() if before[path] != mark}
    assert changed <= {str(server.workspace.manifest_path("small"))}


def test_a_forecast_is_made_kept_and_named_in_one_sentence(server):
    run = server.run("forecast", overrides=SMALL, share=0.5)
    kind, message = server.wait(run)
    assert kind == "COMPLETED" and "records piloted: " in message and " accepted pairs of edits, from " in message, (
        message
    )
    forecast = read_forecast(server.workspace, "small")
    assert forecast is not None and f"{forecast.num_piloted} of {forecast.num_records} records piloted" in message
    assert "forecast" in artifact_keys(server, run)
    kind, message = server.wait(server.run("forecast", profile="nowhere.toml"))
    assert kind == "FAILED" and "nowhere.toml" in message and "Traceback" not in message


def test_instructions_are_expanded_by_their_own_deployment(server):
    run = server.run("expand-instructions", names=["denoising", "deblurring"], target=6, output="words")
    kind, message = server.wait(run)
    folder = server.workspace.home / "words"
    assert (kind, message) == ("COMPLETED", f"12 sentences in {folder}: review them")
    assert len(read_templates("denoising", folder)) == len(read_templates("deblurring", folder)) == 16
    assert "expanded-instructions" in artifact_keys(server, run)
    mistaken = server.run("expand-instructions", by="openai", options={"url": "nowhere"})
    kind, message = server.wait(mistaken)
    assert kind == "FAILED" and "url must be the http or https address" in message and "Traceback" not in message


def made_by(server: LocalServer, flow_run: str) -> list:
    return [entry for entry in read_entries(server.workspace) if entry.flow_run == flow_run]


def test_an_unknown_and_an_ambiguous_bare_name_end_in_one_sentence(server):
    unknown = server.prefect("deployment", "run", "build-everything")
    assert unknown.returncode == 1 and "Traceback" not in unknown.stderr
    assert "build-ieiw/local" in unknown.stderr and unknown.stderr.startswith("error: ")

    api = PrefectApi(server.url)
    local = api.call("GET", "/deployments/name/build-ieiw/local")
    other = api.call("POST", "/deployments/", {"name": "other", "flow_id": local["flow_id"]})
    try:
        ambiguous = server.prefect("deployment", "run", "build-ieiw")
        assert ambiguous.returncode == 1
        assert "build-ieiw/local, build-ieiw/other" in ambiguous.stderr
        assert server.prefect("deployment", "inspect", "build-ieiw/other").returncode == 0
    finally:
        api.call("DELETE", f"/deployments/{other['id']}")


def test_a_shard_that_fails_does_not_hide_the_others_and_a_rerun_mends_it(server, small_build):
    manifest = read_manifest(server.workspace, "small")
    edits = manifest.paths(server.workspace, "edits")
    torn = next(path for path in edits if read_metadata(path)["step"] == "remove_object")
    for path in [torn, *manifest.paths(server.workspace, "scores")]:
        path.unlink()
    torn.write_bytes(b"PAR1 torn")
    manifest_path = server.workspace.manifest_path("small")
    manifest_path.unlink()

    kind, message = server.wait(server.run("build-ieiw", overrides=SMALL))
    assert kind == "FAILED"
    assert message.startswith("1 failed, ") and "remove_object synthetic" in message and "torn" in message
    scores = manifest.paths(server.workspace, "scores")
    assert 0 < sum(path.exists() for path in scores) < len(scores), "scores of the other shards are made"
    assert not manifest_path.exists(), "a build that lacks a shard is not declared finished"

    torn.unlink()
    assert server.wait(server.run("build-ieiw", overrides=SMALL))[0] == "COMPLETED"
    assert read_manifest(server.workspace, "small").tables == manifest.tables


def test_a_users_mistake_is_one_sentence_in_the_runs_state(server):
    runs = {
        "infra/profiles/none.toml": server.run("build-ieiw", profile="infra/profiles/none.toml"),
        "no mix at": server.run("train", mix="catalog/none.parquet"),
    }
    for text, run in runs.items():
        kind, message = server.wait(run)
        assert kind == "FAILED" and text in message and "Traceback" not in message


def test_run_all_goes_from_sources_to_metrics_each_stage_as_its_own_run(server, whole_run):
    kind, message = whole_run
    assert kind == "COMPLETED", message
    [folder] = server.workspace.runs.glob("demo-*")
    assert (folder / "finished.json").is_file() and (folder / "evaluation" / "metrics.parquet").is_file()
    assert {entry.step for entry in read_entries(server.workspace)} >= {"decide", "mix", "train", "evaluate"}
    found = PrefectApi(server.url).call("POST", "/artifacts/filter", {})
    assert {"survival-waterfall", "survival-waterfall-picture", "mix-rows", "training-loss", "metrics"} <= {
        one["key"] for one in found
    }


GRID = """name = "two"
guidance = "ip2p"
sampler = "ddim"
num_steps = 1
text_guidance = [3.0, 7.5]
image_guidance = [1.5]
"""
ALIGNMENT = """name = "tiny"
starts_from = "demo"
grid = "{grid}"
items = 2
min_votes = 1
mix_plan = "infra/mixes/alignment.toml"
recipe = "human_alignment"
epochs = 1
batch_size = 2
settings = {{ image_size = 32, micro_batch_size = 2, precision = "float32", num_workers = 0 }}
curve = {{ split = "val", size = 32, steps = 1, limit = 1 }}
sampling = {{ size = 32 }}
"""


@needs_chromium
def test_alignment_waits_for_people_and_goes_on_with_what_they_chose_in_a_browser(server, whole_run, open_page):
    home = server.workspace.home
    (home / "grid.toml").write_text(GRID)
    (home / "alignment.toml").write_text(ALIGNMENT.format(grid=home / "grid.toml"))
    asked = {"plan": str(home / "alignment.toml"), "judges": "people", "alignment_set": "tiny"}
    kind, message = server.wait(server.run("align", **asked), seconds=300)
    assert kind == "COMPLETED" and message.startswith("2 of 2 items of tiny have no choice yet")
    alignment = AlignmentSet.read(server.workspace, "tiny")
    assert [len(item.variants) for item in alignment.items.values()] == [2, 2]
    _choose_in_a_browser(home, open_page)
    first, second = alignment.items
    order = [one.number for one in alignment.blind_order("Ana", first)]
    picked = {one.item_id: one.variants for one in read_choices(alignment, "Ana")}
    assert picked[first] == (order[1],) and len(picked[second]) == 1
    run = server.run("align", **asked)
    kind, message = server.wait(run, seconds=300)
    assert kind == "COMPLETED" and message.startswith("2 chosen pairs trained 1 epochs"), message
    (folder,) = server.workspace.runs.glob("human_alignment-tiny-people-*")
    assert "29.6" in (folder / "alignment.md").read_text()
    assert len(json.loads((folder / "curve" / "curve.json").read_text())["points"]) == 2
    assert "alignment" in artifact_keys(server, run)


def _choose_in_a_browser(home: Path, open_page: Callable[..., Page]) -> None:
    """Ana picks one variant of each of two items; between the two the dashboard is killed and started again."""
    for answered in (0, 1):
        with dashboard(home) as (url, process):
            page = open_page(f"{url}/choose?person=Ana&set=tiny")
            see(page, f"{answered} of 2 answered")
            page.get_by_role("button", name="variant 2").click()
            page.get_by_role("button", name="Save this choice").click()
            see(page, f"{answered + 1} of 2 answered")
            page.context.close()  # a page whose server is gone complains
            os.kill(process, signal.SIGKILL)


ALL_SEEDS = os.environ.get("IEIW_ALL_SEEDS") == "1"  # else the first of three alone: the rest takes two minutes more
TINY_STUDY = """
[scale.tiny]
builds = ["small"]
policy = "infra/policies/embedded.toml"
mix_plan = "{plan}"
recipe = "demo"
settings = {{ num_steps = 2, image_size = 32, global_batch_size = 2, micro_batch_size = 2, num_workers = 0 }}
evaluation = {{ steps = 1, limit = 2 }}
"""


def test_an_ablation_names_what_is_missing_and_goes_on_to_paired_differences(server, small_build, plan):
    home = server.workspace.home
    given = (REPOSITORY / "infra/studies/instructions.toml").read_text()
    (home / "study.toml").write_text(given + TINY_STUDY.format(plan=plan))
    asked = {"study": str(home / "study.toml"), "scale": "tiny"}
    report = server.workspace.runs / "study-instructions-tiny" / "study.md"
    run = server.run_by_command("ablate", **asked, seeds=[0])
    kind, message = server.wait(run, seconds=300)
    assert kind == "FAILED" and message.startswith("4 missing (") and ", seed 1: " in message, message
    written = report.read_text()
    assert "detailed, seed 2" in written and "render.wording" in written and "71.2" in written
    assert "study" in artifact_keys(server, run)
    finished = {path: path.stat().st_mtime_ns for path in server.workspace.runs.glob("study-*-0/finished.json")}
    assert len(finished) == 2
    if ALL_SEEDS:
        kind, message = server.wait(server.run("ablate", **asked), seconds=600)
        assert kind == "COMPLETED" and "comparisons; report in" in message, message
        assert "Nothing is missing." in report.read_text()
    else:
        kind, message = server.wait(server.run("ablate", **asked, seeds=[0]), seconds=300)
        assert kind == "FAILED" and message.startswith("4 missing ("), message
    assert {path: path.stat().st_mtime_ns for path in finished} == finished  # seed 0 was not trained again
    kind, message = server.wait(server.run("ablate", study=str(home / "study.toml"), scale="huge"))
    assert kind == "FAILED" and "has the scales demo, paper, tiny. Got 'huge'" in message


def test_unseen_tasks_are_asked_of_a_run_and_of_the_exact_answer(server, whole_run):
    run = server.run("evaluate-unseen", control="oracle")
    kind, message = server.wait(run, seconds=300)
    assert kind == "COMPLETED", message
    rows = (server.workspace.runs / "unseen-oracle" / "metrics.md").read_text()
    assert "| ap | 100.00 |" in rows and "metrics" in artifact_keys(server, run)
    asked = {"tasks": ["detection"], "steps": 1, "limit": 1}
    kind, message = server.wait(server.run("evaluate-unseen", **asked), seconds=300)
    assert kind == "COMPLETED", message
    (folder,) = server.workspace.runs.glob("demo-*/unseen")
    assert "detection" in (folder / "metrics.md").read_text()
    kind, message = server.wait(server.run("evaluate-unseen", tasks=["face_alignment"], control="oracle"))
    assert kind == "FAILED" and "Traceback" not in message


def test_benchmarks_go_from_a_datasets_files_to_a_table_beside_the_papers(server, tmp_path):
    picture = np.random.default_rng(0).integers(0, 256, (80, 96, 3), dtype=np.uint8)
    for part, noise in (("blur", 5), ("sharp", 0)):
        (tmp_path / "test" / part).mkdir(parents=True)
        Image.fromarray((picture // 2 + noise).astype(np.uint8)).save(tmp_path / "test" / part / "1.png")
    asked = {"benchmarks": ["gopro_test"], "control": "oracle", "roots": {"gopro_test": str(tmp_path)}}
    kind, message = server.wait(server.run("evaluate-benchmarks", **asked), seconds=300)
    assert kind == "COMPLETED", message
    folder = server.workspace.runs / "benchmarks"
    assert "| gopro_test/deblurring/test | psnr | 100.00 |" in (folder / "metrics.md").read_text()
    (artifact,) = [
        one for one in PrefectApi(server.url).call("POST", "/artifacts/filter", {}) if one["key"] == "benchmarks"
    ]
    assert "23.58 (29.54) | Table 5, page 9" in artifact["data"] and "data:image/png;base64," in artifact["data"]
    (tmp_path / "test" / "sharp" / "1.png").write_bytes(b"no picture")
    kind, message = server.wait(server.run("evaluate-benchmarks", **asked), seconds=300)
    assert kind == "FAILED" and "gopro_test must be measured whole, but some of its records cannot be used" in message
    kind, message = server.wait(server.run("evaluate-benchmarks", benchmarks=["gopro_test"]))
    assert kind == "FAILED" and "give a checkpoint or a control" in message


def test_an_edit_benchmark_goes_from_sources_to_a_file_that_says_who_confirmed_it(server):
    held_out = {**SMALL, "split": {"seed": 0, "val": 0.5, "test": 0.5}, "replace_object.enabled": False}
    asked = {"overrides": held_out, "per_class": 2, "total": 6}
    run = server.run("build-edit-benchmark", **asked, finish="rule", allow_fewer=True)
    kind, message = server.wait(run, seconds=300)
    assert kind == "COMPLETED" and "written as rule confirmed it" in message, message
    assert (server.workspace.catalog / "benchmarks" / "edits_1000.parquet").is_file()
    assert "edit-benchmark" in artifact_keys(server, run)


@pytest.mark.parametrize("how", ["cancel", "terminate", "kill"])
def test_stopping_in_the_middle_of_training_leaves_no_process(server, whole_run, how):
    settings = {"num_steps": 100_000, "checkpoint_every": 100_000}
    flow_run = server.run("train", settings=settings, output=f"runs/{how}", num_processes=2)
    assert server.process is not None
    keeper, deadline = server.process.pid, time.monotonic() + 120
    while len(training(keeper)) < 3:  # torchrun and two ranks
        assert time.monotonic() < deadline, command_lines(keeper)
        time.sleep(0.3)
    if how == "cancel":
        assert server.prefect("flow-run", "cancel", flow_run).returncode == 0
        assert server.wait(flow_run)[0] == "CANCELLED"
        assert not training(keeper)
        return
    below = descendants(keeper)
    assert len(below) >= 6  # server, worker, flow run, torchrun, two ranks
    server.process.send_signal(signal.SIGTERM if how == "terminate" else signal.SIGKILL)
    server.process.wait(60)
    deadline = time.monotonic() + (60 if how == "kill" else 1)
    while left := [process for process in below if start_time(process[0]) == process[1]]:
        assert time.monotonic() < deadline, [Path(f"/proc/{pid}/cmdline").read_text() for pid, _ in left]
        time.sleep(0.2)


def training(root: int) -> list[str]:
    return [line for line in command_lines(root) if "trainer/main.py" in line]


def command_lines(root: int) -> list[str]:
    lines = []
    for process, _ in descendants(root):
        try:
            lines.append(Path(f"/proc/{process}/cmdline").read_text().replace("\0", " "))
        except OSError:
            continue
    return lines


def start_time(process: int) -> int | None:
    """Start of a living process in clock ticks; None where it has ended (or is only waited for)."""
    try:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] == "Z" else int(fields[19])


def test_a_port_that_is_taken_and_a_server_that_dies_are_one_sentence(tmp_path):
    one = LocalServer(tmp_path / "one").start()
    try:
        port = one.url.removesuffix("/api").rpartition(":")[2]
        other = subprocess.run(
            [sys.executable, "-m", "flows.local_server", "--port", port],
            cwd=REPOSITORY,
            env={**os.environ, "IEIW_HOME": str(tmp_path / "other")},
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert other.returncode == 2
        assert other.stderr.startswith("error: port") and other.stderr.count("\n") == 1
        assert one.process is not None
        (server,) = [pid for pid, _ in descendants(one.process.pid) if b"server\0start" in command_line(pid)]
        os.kill(server, signal.SIGKILL)
        assert one.process.wait(60) == 2
        assert one.process.stdout is not None
        assert "the Prefect server has ended by itself" in one.process.stdout.read()
    finally:
        one.stop()


def command_line(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""
