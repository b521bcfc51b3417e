"""Every command that writes where a user says: a place that cannot be is one sentence, before anything is loaded."""

from collections.abc import Sequence
from pathlib import Path

import pytest

import catalog.commands
import evaluation.commands
import tasks.commands
import trainer.edit
import trainer.export
import trainer.main
from catalog import command_line
from catalog.command_line import Command

COMMANDS: dict[str, tuple[Command, Sequence[str]]] = {
    "export": (catalog.commands.main, ["export", "--format", "croissant", "--output"]),
    "unseen": (evaluation.commands.main, ["unseen", "--control", "oracle", "--output"]),
    "run": (evaluation.commands.main, ["run", "--control", "oracle", "--output"]),
    "curve": (evaluation.commands.main, ["align", "curve", "--run", "runs/x", "--output"]),
    "train-decoder": (evaluation.commands.main, ["train-decoder", "--output"]),
    "expand": (tasks.commands.main, ["expand", "deblurring", "--output"]),
    "trainer": (trainer.main.main, ["--catalog", "mix.parquet", "--output"]),
    "trainer.export": (trainer.export.main, ["runs/demo"]),
    "trainer.edit of a split": (trainer.edit.main, ["--catalog", "mix.parquet", "--output"]),
}
"""Command to its arguments, up to the place."""


@pytest.mark.parametrize("name", COMMANDS)
def test_a_file_above_the_output_is_named(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("IEIW_HOME", str(tmp_path / "home"))
    blocker = tmp_path / "notes.txt"
    blocker.write_text("mine")
    command, arguments = COMMANDS[name]
    assert command_line.run(command, [*arguments, str(blocker / "deep" / "there")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ") and f"{blocker} is a file" in line
    assert blocker.read_text() == "mine" and not (tmp_path / "home").exists()


@pytest.mark.parametrize("name", ["export", "unseen", "run", "curve", "expand", "trainer", "trainer.edit of a split"])
def test_a_file_in_the_place_of_the_output_folder_is_named(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    command, arguments = COMMANDS[name]
    assert command_line.run(command, [*arguments, str(tmp_path / "notes.txt")]) == 2
    said = f"the output must be in a folder, but {tmp_path}/notes.txt is a file: choose another place"
    assert capsys.readouterr().err == f"error: {said}\n"
    assert (tmp_path / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize("below", ["", "deep/there"])
@pytest.mark.parametrize("name", COMMANDS)
def test_a_link_to_itself_is_named(
    name: str, below: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("IEIW_HOME", str(tmp_path / "home"))
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    command, arguments = COMMANDS[name]
    assert command_line.run(command, [*arguments, str(loop / below)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: the output must be a place that its links lead to, but those of {loop}")
    assert list(tmp_path.iterdir()) == [loop]


@pytest.mark.parametrize("file", ["out.png", "decoder.safetensors"])
def test_a_folder_in_the_place_of_the_output_file_is_named(
    file: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / file).mkdir()
    of_photo = (trainer.edit.main, [str(tmp_path / "photo.jpg"), "remove the bird", "--output"])
    command, arguments = of_photo if file == "out.png" else COMMANDS["train-decoder"]
    assert command_line.run(command, [*arguments, str(tmp_path / file)]) == 2
    assert f"must be a file, but {tmp_path / file} is a folder" in capsys.readouterr().err


def test_a_place_that_cannot_be_made_comes_with_a_remedy(capsys: pytest.CaptureFixture[str]) -> None:
    """Below /proc nothing can be made, though the system says that root may write there."""
    arguments = ["expand", "deblurring", "--target", "1", "--output", "/proc/x/y"]
    assert command_line.run(tasks.commands.main, arguments) == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert "/proc" in line and line.endswith(
        ("no such file or folder: check the path or name another place (/proc/x)", "cannot: choose another")
    )


def test_whatever_the_system_says_of_a_file_above_is_put_in_words(capsys: pytest.CaptureFixture[str]) -> None:
    def read(arguments: Sequence[str]) -> int:
        (Path(__file__) / "below").read_text()
        return 0

    assert command_line.run(read, []) == 2
    assert capsys.readouterr().err == (
        f"error: a file stands where a folder is needed: remove it or name another place ({__file__}/below)\n"
    )
