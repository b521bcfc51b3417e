"""Files that a user names for an answer: one test per way to lose something."""

import os
from pathlib import Path

import pytest

from catalog.errors import ConfigError, MixError
from catalog.mix_plans import MixPlan
from catalog.outputs import check_output
from catalog.queries import MAX_THREADS, count_threads
from catalog.workspace import Workspace

PNG = b"\x89PNG\r\n\x1a\n and more"


def test_a_new_name_and_a_file_of_the_same_kind_are_taken(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    assert check_output(tmp_path / "new" / "deep" / "a.png", ".png", workspace).name == "a.png"
    (tmp_path / "old.png").write_bytes(PNG)
    check_output(tmp_path / "old.png", ".png", workspace)


@pytest.mark.parametrize("name", ["README.md", "mix", "sheet.jpg"])
def test_another_name_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match=r"must be a file named \*\.png"):
        check_output(tmp_path / name, ".png", Workspace(tmp_path))


@pytest.mark.parametrize(("suffix", "content"), [(".png", b"PAR1 rows PAR1"), (".parquet", PNG), (".parquet", b"")])
def test_a_file_of_another_kind_stays(tmp_path: Path, suffix: str, content: bytes) -> None:
    path = tmp_path / f"there{suffix}"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match="is there and not a"):
        check_output(path, suffix, Workspace(tmp_path))
    assert path.read_bytes() == content


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "a.png").mkdir()
    with pytest.raises(ConfigError, match="is a folder"):
        check_output(tmp_path / "a.png", ".png", Workspace(tmp_path))


@pytest.mark.parametrize("place", ["catalog/tables/pairs/a.parquet", "data/a.parquet", "data/../data/x/a.parquet"])
def test_shards_are_no_place_for_answers(tmp_path: Path, place: str) -> None:
    with pytest.raises(ConfigError, match="must not be among the shards"):
        check_output(tmp_path / place, ".parquet", Workspace(tmp_path))


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ConfigError, match=f"but {tmp_path}/file is a file"):
        check_output(tmp_path / "file" / "a.png", ".png", Workspace(tmp_path))
    if os.geteuid():  # root may write everywhere
        (tmp_path / "closed").mkdir(mode=0o500)
        with pytest.raises(ConfigError, match="closed cannot"):
            check_output(tmp_path / "closed" / "a.png", ".png", Workspace(tmp_path))


@pytest.mark.parametrize("name", ["loop.png", "loop.png/a.png", "absent/../loop.png/deep/a.png"])
def test_links_that_lead_in_a_circle_are_named(tmp_path: Path, name: str) -> None:
    (tmp_path / "loop.png").symlink_to(tmp_path / "back")
    (tmp_path / "back").symlink_to(tmp_path / "loop.png")
    with pytest.raises(ConfigError, match=f"those of {tmp_path / name} lead in a circle: remove the link"):
        check_output(tmp_path / name, ".png", Workspace(tmp_path))
    (tmp_path / "straight").symlink_to(tmp_path / "new")
    assert check_output(tmp_path / "straight" / "a.png", ".png", Workspace(tmp_path)).name == "a.png"


@pytest.mark.parametrize("threads", [0, -1, MAX_THREADS + 1, 10**9])
def test_threads_that_no_machine_has_are_refused(threads: int) -> None:
    with pytest.raises(ConfigError, match=f"threads must be 1 to {MAX_THREADS}. Got {threads}"):
        count_threads(threads)


@pytest.mark.parametrize("seed", [2**63, 10**22])
def test_a_seed_that_no_integer_column_holds_is_refused(seed: int) -> None:
    values = {"name": "m", "seed": seed, "source": [{"name": "all", "weight": 1.0}]}
    with pytest.raises(MixError, match=r"needs a seed of 0 to 2\^63 - 1"):
        MixPlan.parse(values, "m.toml")
    assert MixPlan.parse(values | {"seed": 2**63 - 1}, "m.toml").seed == 2**63 - 1
