"""Photos that quality is measured against: of regions where there are any, else of the pairs that start from photos."""

import json
import zipfile
from pathlib import Path
from typing import Any

import pytest
from listed_pairs import cell, png, write_table
from plain_build import build

from catalog.decisions import decide
from catalog.errors import PolicyError
from catalog.manifests import Manifest
from catalog.policies import Policy
from catalog.store import read_rows
from catalog.workspace import Workspace
from tasks.profiles import read_profile
from tasks.references import _photos

INFRA = Path(__file__).resolve().parents[2] / "infra"
QUALITY = {
    "name": "quality",
    "version": 1,
    "condition": [
        {"name": "low_target_quality", "score": "target_quality", "quantile": 0.05, "side": "low"},
        {
            "name": "quality_discrepancy",
            "difference": ["source_quality", "target_quality"],
            "quantile": 0.05,
            "side": "high",
        },
    ],
}
AESTHETIC = {
    "name": "plain",
    "version": 1,
    "condition": [{"name": "low_target_aesthetic", "score": "target_aesthetic", "minimum": 0.0}],
}


def magicbrush(root: Path, count: int) -> None:
    """Sessions of two turns: the second begins with what the first made."""
    turns = [(n, turn) for n in range(count) for turn in (1, 2)]
    columns: dict[str, list[Any]] = {
        "img_id": [str(n) for n, _ in turns],
        "turn_index": [turn for _, turn in turns],
        "source_img": [cell(10 * n + turn) for n, turn in turns],
        "target_img": [cell(10 * n + turn + 1) for n, turn in turns],
        "instruction": [f"make it {turn}" for _, turn in turns],
    }
    write_table(root / "data/train-00000-of-00001.parquet", columns, ("source_img", "target_img"))


def instructpix2pix(root: Path, count: int) -> None:
    root.mkdir()
    (root / "seeds.json").write_text(json.dumps([[f"{n:07d}", ["7"]] for n in range(count)]))
    with zipfile.ZipFile(root / "shard-00.zip", "w") as archive:
        for n in range(count):
            archive.writestr(f"{n:07d}/prompt.json", json.dumps({"input": "a", "edit": "make it red", "output": "b"}))
            for part in (0, 1):
                archive.writestr(f"{n:07d}/7_{part}.jpg", png(500 + 2 * n + part))


def build_of(home: Path, *readers: str) -> tuple[Workspace, Manifest]:
    sources = []
    for reader in readers:
        if reader in ("sample", "synthetic"):
            options = {"limit": 2} if reader == "sample" else {"count": 2, "kinds": ["enhancement"]}
            sources.append({"dataset": reader, "reader": reader, "options": options})
            continue
        {"magicbrush": magicbrush, "instructpix2pix": instructpix2pix}[reader](home / reader, 6)
        sources.append({"dataset": reader, "reader": reader, "root": str(home / reader)})
    overrides = {"source": sources, "name": "mine", "remove_object.enabled": False, "replace_object.enabled": False}
    profile = read_profile(INFRA / "profiles/embedded.toml", overrides)
    workspace = Workspace(home / "home")
    return workspace, build(workspace, profile)


def rows_of(workspace: Workspace, manifest: Manifest, table: str) -> list[dict[str, Any]]:
    return [row for path in manifest.paths(workspace, table) for row in read_rows(path)]


def test_pairs_of_photos_are_measured_against_their_own_photos(tmp_path: Path) -> None:
    """First turns' sources of the train split; a pair is never measured against its own photo."""
    workspace, manifest = build_of(tmp_path, "magicbrush", "instructpix2pix")
    pairs = rows_of(workspace, manifest, "pairs")
    photos = {
        row["group_id"]
        for row in pairs
        if (row["dataset"], row["split"]) == ("magicbrush", "train")
        and row["source_image"]["sha256"] == row["group_id"]
    }
    assert {row["group_id"] for row in rows_of(workspace, manifest, "references")} == photos and len(photos) == 6
    scores = rows_of(workspace, manifest, "scores")
    assert len(scores) == len(pairs) and all(row["target_quality"] is not None for row in scores)
    decision = decide(workspace, "mine", Policy.parse(QUALITY, "test"))
    assert decision.num_accepted >= 0.9 * len(scores)


def test_generated_pictures_are_no_measure(tmp_path: Path) -> None:
    workspace, manifest = build_of(tmp_path, "instructpix2pix")
    assert rows_of(workspace, manifest, "references") == [] and len(rows_of(workspace, manifest, "scores")) == 6
    for policy in (Policy.parse(QUALITY, "test"), Policy.parse({**QUALITY, "name": "again"}, "test")):
        with pytest.raises(
            PolicyError, match=r"quality of 6 pairs \(low_target_quality, quality_discrepancy\), and build"
        ):
            decide(workspace, "mine", policy)
    assert decide(workspace, "mine", Policy.parse(AESTHETIC, "test")).num_accepted == 6
    about_others = {**QUALITY["condition"][0], "edit_types": ["object_removal"]}  # type: ignore[dict-item]
    policy = Policy.parse({"name": "other", "version": 1, "condition": [about_others]}, "test")
    assert decide(workspace, "mine", policy).num_accepted == 6


def test_regions_come_first(tmp_path: Path) -> None:
    workspace, manifest = build_of(tmp_path, "instructpix2pix", "sample", "magicbrush")
    groups = {row["group_id"] for row in rows_of(workspace, manifest, "regions") if row["split"] == "train"}
    assert {row["group_id"] for row in rows_of(workspace, manifest, "references")} == groups
    assert all(row["target_quality"] is not None for row in rows_of(workspace, manifest, "scores"))


def test_the_paper_s_policy_and_the_one_by_aesthetics_agree() -> None:
    """The same conditions, less those that need photos."""
    paper, aesthetics = (Policy.read(INFRA / "policies" / f"{name}.toml") for name in ("paper", "aesthetics"))
    assert aesthetics.conditions == tuple(one for one in paper.conditions if "aesthetic" in one.name)
    assert aesthetics.scorers == paper.scorers


def test_of_enhancement_the_clean_picture_is_the_photo() -> None:
    row = {"reason": None, "dataset": "gopro", "vision_task": "image_enhancement", "group_id": "g"}
    row |= {"source_image": {"sha256": "g"}, "target_image": {"sha256": "sharp"}}
    assert [one["source_image"]["sha256"] for one in _photos([row, {**row, "reason": "no_change"}], ())] == ["sharp"]
    assert list(_photos([row], {"gopro"})) == []
