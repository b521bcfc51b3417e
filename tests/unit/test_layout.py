"""The layout holds: generic package names resolve to ours, entrypoints load, layers that keep torch out hold."""

import importlib.metadata
import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

REPOSITORY = Path(__file__).resolve().parents[2]
PACKAGES = ("flows", "tasks", "trainer", "catalog", "evaluation")


def run_python(code: str, **options) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, timeout=120, **options
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("folder", PACKAGES)
def test_packages_resolve_to_ours_from_a_script_inside_each_of_them(folder, tmp_path):
    # `torchrun trainer/main.py` puts trainer/ first on the path, Prefect puts flows/ there.
    code = (
        f"import sys; sys.path[0] = {str(REPOSITORY / folder)!r}\n"
        "import importlib.util, json\n"
        f"print(json.dumps({{name: importlib.util.find_spec(name).origin for name in {PACKAGES!r}}}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True
    )
    origins = json.loads(done.stdout)
    assert origins == {name: str(REPOSITORY / name / "__init__.py") for name in PACKAGES}


def test_no_file_shadows_a_module_of_somebody_else():
    installed = {name.partition(".")[0] for name in importlib.metadata.packages_distributions()}
    taken = (set(sys.stdlib_module_names) | installed | set(PACKAGES)) - {"__pycache__", "__init__"}
    for folder in PACKAGES:
        children = {path.stem for path in (REPOSITORY / folder).iterdir()} - {"__main__"}
        assert not children & taken, f"{folder}/: {sorted(children & taken)}"


def test_folders_of_tests_are_not_packages_and_their_file_names_are_unique():
    assert not list((REPOSITORY / "tests").rglob("__init__.py"))
    names = [path.name for path in (REPOSITORY / "tests").rglob("test_*.py")]
    assert len(names) == len(set(names))


def entrypoints() -> list[str]:
    deployments = yaml.safe_load((REPOSITORY / "prefect.yaml").read_text())["deployments"]
    return [deployment["entrypoint"] for deployment in deployments]


def test_prefect_yaml_deploys_each_flow_once_under_the_name_local():
    deployments = yaml.safe_load((REPOSITORY / "prefect.yaml").read_text())["deployments"]
    assert {deployment["name"] for deployment in deployments} == {"local"}
    assert {deployment["work_pool"]["name"] for deployment in deployments} == {"local"}
    files = [entrypoint.partition(":")[0] for entrypoint in entrypoints()]
    with_flow = [
        path.relative_to(REPOSITORY).as_posix()
        for path in (REPOSITORY / "flows").glob("*.py")
        if "\n@flow(" in path.read_text()
    ]
    assert sorted(files) == sorted(with_flow)


def test_entrypoints_load_strictly_and_have_the_documented_names():
    # Prefect's own loader replaces a flow whose imports fail by a placeholder; strict loading does not.
    code = (
        "import json, sys\n"
        "from prefect.flows import load_flow_from_entrypoint as load\n"
        f"flows = [load(entry, use_placeholder_flow=False) for entry in {entrypoints()!r}]\n"
        "heavy = [name for name in ('torch', 'diffusers', 'transformers', 'trainer') if name in sys.modules]\n"
        "print(json.dumps([[flow.name for flow in flows], heavy]))"
    )
    names, heavy = json.loads(run_python(code).splitlines()[-1])
    assert names == [
        "build-ieiw",
        "forecast",
        "crawl-requests",
        "build-mix",
        "encode",
        "train",
        "evaluate",
        "evaluate-benchmarks",
        "align",
        "ablate",
        "build-edit-benchmark",
        "evaluate-unseen",
        "train-decoder",
        "run-all",
        "expand-instructions",
    ]
    assert heavy == []


@pytest.mark.parametrize("module", ["flows.build_ieiw", "catalog.samples", "tasks.steps"])
def test_light_modules_import_no_heavy_library(module):
    code = (
        f"import sys, {module}\n"
        "print([name for name in ('torch', 'diffusers', 'transformers', 'faiss', 'skimage') if name in sys.modules])"
    )
    assert run_python(code).splitlines()[-1] == "[]"


@pytest.mark.parametrize("package", ["catalog", "tasks", "trainer", "evaluation"])
def test_prefect_stays_in_flows(package):
    for path in (REPOSITORY / package).rglob("*.py"):
        assert "import prefect" not in path.read_text() and "from prefect" not in path.read_text(), path


def test_the_trainer_starts_under_torchrun():
    done = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=1", "trainer/main.py", "--help"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "--catalog" in done.stdout


def test_requirements_pin_every_package_and_name_no_address():
    lines = (REPOSITORY / "requirements.txt").read_text().splitlines()
    assert lines
    for line in lines:
        assert "==" in line and "://" not in line and " @ " not in line, line
