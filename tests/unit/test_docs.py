"""The README names everything that a user can type or find, and nothing that does not exist."""

import re
from pathlib import Path

import pytest
import yaml

from catalog.schema import TABLES
from tasks.backends.registry import ROLES
from tasks.readers.registry import READERS

REPOSITORY = Path(__file__).resolve().parents[2]
README = (REPOSITORY / "README.md").read_text()
PACKAGES = ("flows", "tasks", "trainer", "catalog", "evaluation")


def make_targets() -> list[str]:
    return re.findall(r"^([a-z-]+):.*##", (REPOSITORY / "Makefile").read_text(), re.MULTILINE)


def flow_names() -> list[str]:
    texts = [path.read_text() for path in (REPOSITORY / "flows").glob("*.py")]
    return [name for text in texts for name in re.findall(r'^@flow\(name="([a-z-]+)"', text, re.MULTILINE)]


def subcommands(package: str) -> list[str]:
    text = (REPOSITORY / package / "commands.py").read_text()
    return re.findall(r'add_parser\(\s*"([a-z]+)"', text) or re.findall(r'^    "([a-z-]+)": ', text, re.MULTILINE)


def test_every_make_target_is_named():
    targets = make_targets()
    assert {"setup", "demo", "test", "check", "bench"} <= set(targets)
    for target in set(targets) - {"help"}:
        assert f"`make {target}`" in README, target


def test_every_flow_and_deployment_is_named():
    assert len(flow_names()) == len(yaml.safe_load((REPOSITORY / "prefect.yaml").read_text())["deployments"])
    for name in flow_names():
        assert f"| `{name}` | `{name}/local` |" in README, name


@pytest.mark.parametrize("table", TABLES)
def test_every_table_is_named(table):
    assert f"| `{table}` |" in README


@pytest.mark.parametrize("reader", READERS)
def test_every_reader_is_named(reader):
    assert f"`{reader}`" in README


@pytest.mark.parametrize(("role", "name"), [(role, name) for role, names in ROLES.items() for name in names])
def test_every_backend_is_named_beside_its_role(role, name):
    line = next(line for line in README.splitlines() if line.startswith(f"| `{role}` |"))
    assert f"`{name}`" in line


@pytest.mark.parametrize("path", sorted((REPOSITORY / "infra").glob("*/*.toml")), ids=lambda path: path.stem)
def test_every_configuration_file_is_named(path):
    assert f"`{path.relative_to(REPOSITORY).as_posix()}`" in README


def test_files_that_the_readme_names_exist():
    for path in re.findall(r"`((?:infra|trainer|catalog|flows|tests)/[a-z_/]+\.(?:toml|py|json|sql))`", README):
        assert (REPOSITORY / path).is_file(), path


@pytest.mark.parametrize("package", PACKAGES)
def test_the_tree_lists_every_module_and_only_those(package):
    tree = README.partition("## The tree")[2].partition("\n## ")[0]
    part = re.search(rf"^    {package}/ .*\n((?:      .*\n)*)", tree, re.MULTILINE)
    assert part is not None
    listed = set(re.findall(r"^      ([a-z_/.]+)", part[1], re.MULTILINE))
    children = {path.name for path in (REPOSITORY / package).glob("*.py") if not path.name.startswith("__")}
    # Generated folders (tables/, ledger/, ...) hold neither code nor texts.
    files = [path for path in (REPOSITORY / package).glob("*/*") if path.suffix in {".py", ".sql", ".txt"}]
    children |= {f"{path.parent.name}/" for path in files}
    assert listed == {child for child in children if not child.startswith("__")}


@pytest.mark.parametrize("package", ["catalog", "evaluation", "tasks"])
def test_every_subcommand_is_named(package):
    commands = subcommands(package)
    assert commands
    for command in commands:
        assert f"`python -m {package} {command}" in README, command
