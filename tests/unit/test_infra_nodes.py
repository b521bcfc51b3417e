"""The files for jobs on several nodes: whole, and true to the script that they start."""

import re
import subprocess
from pathlib import Path

import yaml

INFRA = Path(__file__).resolve().parents[2] / "infra"
SCRIPT = INFRA / "train.sh"


def needed() -> set[str]:
    """Variables that the script cannot do without."""
    return set(re.findall(r"^: \"\$\{(\w+):\?", SCRIPT.read_text(), re.MULTILINE))


def test_scripts_are_valid_and_name_what_is_missing() -> None:
    for script in (SCRIPT, INFRA / "slurm" / "train.sbatch"):
        assert subprocess.run(["bash", "-n", str(script)], check=False).returncode == 0
    assert needed() == {"NUM_NODES", "RENDEZVOUS", "JOB_ID"}
    done = subprocess.run([str(SCRIPT)], env={"PATH": "/usr/bin:/bin"}, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "set NUM_NODES to the number of nodes" in done.stderr


def test_slurm_gives_the_script_what_it_needs_and_time_for_a_checkpoint() -> None:
    text = (INFRA / "slurm" / "train.sbatch").read_text()
    assert needed() <= set(re.findall(r"^export (\w+)=", text, re.MULTILINE))
    assert "#SBATCH --signal=TERM@" in text
    assert "#SBATCH --ntasks-per-node=1" in text


def test_kubernetes_gives_the_script_what_it_needs() -> None:
    service, job = yaml.safe_load_all((INFRA / "kubernetes" / "train.yaml").read_text())
    spec = job["spec"]
    pod = spec["template"]["spec"]
    (container,) = pod["containers"]
    variables = {entry["name"]: entry["value"] for entry in container["env"]}
    assert needed() <= variables.keys()
    assert str(spec["completions"]) == str(spec["parallelism"]) == variables["NUM_NODES"]
    assert spec["completionMode"] == "Indexed"
    host, port = variables["RENDEZVOUS"].split(":")
    assert host == f"{job['metadata']['name']}-0.{service['metadata']['name']}"  # a Job's pods are named so
    assert pod["subdomain"] == service["metadata"]["name"]
    assert int(port) == service["spec"]["ports"][0]["port"]
    assert service["spec"]["clusterIP"] == "None"
    assert container["command"] == ["infra/train.sh"]
