"""Every table on real samples, from the dataset's own files to metric rows: oracle, no-op and shuffled oracle."""

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image
from plain_build import build
from skimage.metrics import peak_signal_noise_ratio

from catalog import command_line
from catalog.mix_plans import MixPlan
from catalog.mixes import build_mix
from catalog.policies import Policy
from catalog.store import read_rows
from catalog.workspace import Workspace
from evaluation.benchmarks import benchmark_mix
from evaluation.commands import main
from tasks.profiles import read_profile

INFRA = Path(__file__).parents[2] / "infra"
COCO_KEYPOINTS = {"annotations": "test_coco.json"}
Made = tuple[Path, dict]
"""Root and further reader options of one dataset."""


def sample(shared_data: Path, name: str) -> Path:
    if not (shared_data / name).is_dir():
        pytest.skip(f"the sample {name} is not here")
    return shared_data / name


def coco(shared: Path, root: Path) -> Made:
    return sample(shared, "keypoints_coco"), {**COCO_KEYPOINTS, "images": "."}


def humanart(shared: Path, root: Path) -> Made:
    return sample(shared, "keypoints_humanart"), {"annotations": "HumanArt/annotations/test_humanart.json"}


def ap10k(shared: Path, root: Path) -> Made:
    return sample(shared, "keypoints_ap10k"), {"annotations": "test_ap10k.json", "images": "."}


def refer(shared: Path, root: Path, name: str = "refcoco", division: str = "unc") -> Made:
    """RefCOCO's own files, and those of its sisters, about real photos and polygons of COCO."""
    folder = sample(shared, "keypoints_coco")
    objects = json.loads((folder / "test_coco.json").read_text())
    objects["categories"] = [{"id": 1, "name": "person"}]
    refs = []
    for number, one in enumerate(row for row in objects["annotations"] if row["num_keypoints"]):
        sentence = {"sent_id": number, "raw": f"skier {number}", "sent": f"skier {number}", "tokens": ["skier"]}
        keys = {"ref_id": number, "ann_id": one["id"], "category_id": 1, "image_id": one["image_id"]}
        refs.append({**keys, "file_name": "x.jpg", "split": "val", "sent_ids": [number], "sentences": [sentence]})
    (root / name).mkdir(parents=True)
    (root / name / "instances.json").write_text(json.dumps(objects))
    (root / name / f"refs({division}).p").write_bytes(pickle.dumps(refs, protocol=2))
    (root / "grefcoco").mkdir()
    (root / "grefcoco" / "instances.json").write_text(json.dumps(objects))
    several = [{**ref, "ann_id": [ref["ann_id"]], "category_id": [1]} for ref in refs]
    nothing = {**several[0], "ref_id": 99, "ann_id": [-1], "category_id": [-1], "sent_ids": [99]}
    nothing["sentences"] = [{"sent_id": 99, "raw": "the submarine", "sent": "the submarine", "tokens": ["submarine"]}]
    (root / "grefcoco" / "grefs(unc).json").write_text(json.dumps([*several, nothing]))
    for image in folder.glob("*.jpg"):
        (root / "train2014").mkdir(exist_ok=True)
        shutil.copy(image, root / "train2014")
    return root, {}


def refcocoplus(shared: Path, root: Path) -> Made:
    return refer(shared, root, "refcoco+")


def gref(shared: Path, root: Path) -> Made:
    return refer(shared, root, "refcocog", "umd")


def ade_full(shared: Path, root: Path) -> Made:
    """The same photos in both splits: a class is one of the 847 if both show it."""
    folder = sample(shared, "ade20k_full") / "ADE20K_2021_17_01" / "images" / "ADE" / "training"
    for split in ("training", "validation"):
        shutil.copytree(
            folder, root / "images" / "ADE" / split, ignore=shutil.ignore_patterns("*_parts_*", "instance_*")
        )
    return root, {}


def ade(shared: Path, root: Path) -> Made:
    folder = sample(shared, "ade20k_sceneparsing")
    for part in ("images", "annotations"):
        shutil.copytree(folder / part, root / part / "validation")
    shutil.copy(folder / "objectInfo150.txt", root)
    return root, {}


def stuff(shared: Path, root: Path) -> Made:
    return sample(shared, "cocostuff_derived"), {}


def voc(shared: Path, root: Path) -> Made:
    folder = sample(shared, "voc_labelme") / "semantic_segmentation" / "data_dataset_voc"
    for part in ("JPEGImages", "SegmentationClass"):
        shutil.copytree(folder / part, root / part, ignore=shutil.ignore_patterns("*.npy"))
    (root / "ImageSets" / "Segmentation").mkdir(parents=True)
    stems = [path.stem for path in sorted((root / "SegmentationClass").glob("*.png"))]
    (root / "ImageSets" / "Segmentation" / "val.txt").write_text("\n".join(stems))
    return root, {}


def gopro(shared: Path, root: Path) -> Made:
    folder = sample(shared, "gopro_deepdeblur")
    for part in ("blur", "sharp"):
        (root / "test" / part).mkdir(parents=True)
        shutil.copy(folder / part / "Istanbul.png", root / "test" / part)
    return root, {}


MAKERS: dict[str, Callable[[Path, Path], Made]] = {
    "coco_val2017": coco,
    "humanart_val": humanart,
    "ap10k_val": ap10k,
    "refcoco_val": refer,
    "grefcoco_val": refer,
    "refcocoplus_val": refcocoplus,
    "gref_umd_val": gref,
    "ade847_val": ade_full,
    "ade150_val": ade,
    "cocostuff_val": stuff,
    "voc_val": voc,
    "gopro_test": gopro,
}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def made(home: Path, shared_data: Path) -> Callable[[str], Workspace]:
    """Builds a benchmark's mix when first asked for."""
    done = set()
    workspace = Workspace(home)

    def make(key: str) -> Workspace:
        if key not in done:
            profile = read_profile(INFRA / "profiles" / "benchmarks.toml")
            source = next(source for source in profile.sources if source.dataset == key)
            root, options = MAKERS[key](shared_data, home / "datasets" / key)
            values = {"dataset": key, "reader": source.reader, "root": str(root)}
            values["options"] = {**source.options, **options}
            name = f"benchmark-{key.lower()}"
            overrides = {"source": [values], "name": name}
            build(workspace, read_profile(INFRA / "profiles" / "benchmarks.toml", overrides))
            policy = Policy.read(INFRA / "policies" / "everything.toml")
            plan = MixPlan.read(INFRA / "mixes" / "benchmarks.toml")
            build_mix(workspace, [name], policy, plan, benchmark_mix(workspace.catalog, key))
            done.add(key)
        return workspace

    return make


def run(workspace: Workspace, control: str, key: str, *options: str) -> dict[str, dict]:
    """``python -m evaluation run``: rows by metric of the benchmark itself."""
    output = workspace.home / "runs" / control / key
    mix = benchmark_mix(workspace.catalog, key)
    arguments = ["run", "--control", control, "--benchmark", key, "--mix", str(mix), "--output", str(output)]
    assert command_line.run(main, [*arguments, *options]) == 0
    rows = pq.read_table(output / "metrics.parquet").to_pylist()
    return {row["metric"]: row for row in rows if row["benchmark"].count("/") == rows[0]["benchmark"].count("/")}


PERFECT = {
    "coco_val2017": {"ap": 1.0},
    "humanart_val": {"ap": 1.0},
    "ap10k_val": {"ap": 1.0},
    "refcoco_val": {"ciou": 1.0, "giou": 1.0, "pr90": 1.0, "t_acc": 1.0},
    "grefcoco_val": {"ciou": 1.0, "giou": 1.0, "n_acc": 1.0},
    "refcocoplus_val": {"ciou": 1.0, "giou": 1.0},
    "gref_umd_val": {"ciou": 1.0, "giou": 1.0},
    "ade847_val": {"miou": 1.0},
    "ade150_val": {"miou": 1.0},
    "cocostuff_val": {"miou": 1.0},
    "voc_val": {"miou": 1.0},
    "gopro_test": {"psnr": 100.0, "ssim": 1.0},
}
EXACT = dict.fromkeys(("ciou", "giou", "miou"), 5e-4)
"""Where a photo already has the asked colour, pixels follow their neighbours: a few of them wrongly."""
SMALL_THINGS = {"ade847_val": 2e-3}
"""Far things on a street of a few pixels each, where one wrong pixel is much of the class."""
UNCHANGED = {
    "coco_val2017": {"ap": 0.0},
    "humanart_val": {"ap": 0.0},
    "ap10k_val": {"ap": 0.0},
    "refcoco_val": {"ciou": 0.0, "giou": 0.0, "pr90": 0.0, "t_acc": 0.0},
    "grefcoco_val": {"ciou": 0.0, "giou": 1 / 6, "n_acc": 1.0},  # one of six expressions means nothing
    "refcocoplus_val": {"ciou": 0.0, "giou": 0.0},
    "gref_umd_val": {"ciou": 0.0, "giou": 0.0},
    "ade847_val": {"miou": 0.0},
    "ade150_val": {"miou": 0.0},
    "cocostuff_val": {"miou": 0.0},
    "voc_val": {"miou": 0.0},
}


@pytest.mark.parametrize("key", PERFECT)
def test_a_perfect_oracle_gets_everything(key: str, made: Callable[[str], Workspace]) -> None:
    found = run(made(key), "oracle", key)
    for metric, value in PERFECT[key].items():
        assert found[metric]["value"] == pytest.approx(value, abs=SMALL_THINGS.get(key, EXACT.get(metric, 1e-6))), (
            metric
        )
    (printed,) = [row for row in found.values() if row["paper_value"] is not None]
    assert printed["paper_place"].startswith("Table ")
    text = (made(key).home / "runs" / "oracle" / key / "metrics.md").read_text()
    assert f"{printed['paper_value']:.2f}" in text and printed["paper_place"] in text


@pytest.mark.parametrize("key", UNCHANGED)
def test_a_no_op_gets_nothing(key: str, made: Callable[[str], Workspace]) -> None:
    found = run(made(key), "no-op", key)
    for metric, value in UNCHANGED[key].items():
        assert found[metric]["value"] == pytest.approx(value, abs=1e-6), metric


@pytest.mark.parametrize("key", sorted(PERFECT.keys() - {"ap10k_val"}))  # one animal: no other to shuffle with
def test_a_shuffled_oracle_is_far_below(key: str, made: Callable[[str], Workspace]) -> None:
    found = run(made(key), "shuffled-oracle", key)
    metric, best = next(iter(PERFECT[key].items()))
    assert found[metric]["value"] < 0.5 * best


def test_psnr_of_a_real_frame_is_that_of_scikit_image(made: Callable[[str], Workspace], shared_data: Path) -> None:
    """1280 x 720 in 15 tiles: unchanged, and with each tile's answer taken from the next."""
    workspace, folder = made("gopro_test"), shared_data / "gopro_deepdeblur"
    blur, sharp = (np.asarray(Image.open(folder / part / "Istanbul.png").convert("RGB")) for part in ("blur", "sharp"))
    unchanged = run(workspace, "no-op", "gopro_test")
    assert unchanged["psnr"]["value"] == pytest.approx(peak_signal_noise_ratio(sharp, blur), abs=1e-6)
    assert unchanged["psnr"]["num_samples"] == 1
    assert unchanged["psnr"]["paper_bound"] == 29.54
    places = [(y, x) for y in (0, 256, 464) for x in (0, 256, 512, 768, 1024)]
    tiles = [sharp[y : y + 256, x : x + 256].astype(float) for y, x in places]
    sums, counts = np.zeros(sharp.shape), np.zeros(sharp.shape)
    for (y, x), tile in zip(places, tiles[1:] + tiles[:1], strict=True):
        sums[y : y + 256, x : x + 256] += tile
        counts[y : y + 256, x : x + 256] += 1
    expected = peak_signal_noise_ratio(sharp, np.rint(sums / counts).astype(np.uint8))
    shuffled = run(workspace, "shuffled-oracle", "gopro_test", "--batch-size", "15")
    assert shuffled["psnr"]["value"] == pytest.approx(expected, abs=1e-6)


def test_every_annotated_person_is_measured(made: Callable[[str], Workspace]) -> None:
    """COCO's file has 5 people with joints on two photos; the sixth has none."""
    found = run(made("coco_val2017"), "oracle", "coco_val2017")
    assert found["ap"]["num_samples"] == 5
    rows = [
        row
        for path in (made("coco_val2017").catalog / "benchmarks").glob("coco_val2017.parquet")
        for row in pq.read_table(path).to_pylist()
    ]
    assert {row["split"] for row in rows} == {"val"}


def test_a_foreign_mix_is_one_sentence(made: Callable[[str], Workspace], capsys: pytest.CaptureFixture) -> None:
    workspace = made("voc_val")
    arguments = ["run", "--control", "no-op", "--output", str(workspace.home / "out"), "--benchmark", "ade150_val"]
    mix = benchmark_mix(workspace.catalog, "voc_val")
    assert command_line.run(main, [*arguments, "--mix", str(mix)]) == 2
    assert "must hold the dataset 'ade150_val' alone, but holds 'voc_val'" in capsys.readouterr().err
    assert command_line.run(main, [*arguments, "--mix", str(workspace.home / "none.parquet")]) == 2
    assert "make one with flow evaluate-benchmarks" in capsys.readouterr().err


def test_several_benchmarks_are_one_table(made: Callable[[str], Workspace], monkeypatch: pytest.MonkeyPatch) -> None:
    workspace = made("voc_val")
    made("gopro_test")
    monkeypatch.setenv("IEIW_HOME", str(workspace.home))
    names = ["--benchmark", "voc_val", "--benchmark", "gopro_test"]
    output = workspace.home / "runs" / "both"
    assert command_line.run(main, ["run", "--control", "oracle", *names, "--output", str(output)]) == 0
    rows = pq.read_table(output / "metrics.parquet").to_pylist()
    assert {row["benchmark"].split("/")[0] for row in rows} == {"voc_val", "gopro_test"}
    assert len({row["mix_sha256"] for row in rows}) == 2
    lines = (output / "metrics.md").read_text().splitlines()
    assert (
        sum(line.startswith(("| voc_val/val | miou | 99.98", "| gopro_test/deblurring/test | psnr")) for line in lines)
        == 2
    )
    assert Image.open(output / "metrics.png").size[0] > 600
    assert list(read_rows(output / "metrics.parquet"))
