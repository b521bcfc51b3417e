"""Rendered scenes: the same bytes in every process, exact masks, edits, joints, and phrases that mean one thing."""

import hashlib
import json
import re
import subprocess
import sys
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from catalog.errors import RowRejected, SourceError
from catalog.images import decode_image
from tasks.readers import synthetic_person, synthetic_scene
from tasks.readers.records import SourceImage, SourcePair
from tasks.readers.registry import make_reader
from tasks.readers.synthetic import KINDS, SyntheticReader
from tasks.readers.synthetic_canvas import Canvas
from tasks.readers.synthetic_grounds import GROUNDS
from tasks.readers.synthetic_layout import Scene, make_scene
from tasks.readers.synthetic_scene import lay_over, make_sprite, render, visible_masks
from tasks.readers.synthetic_shapes import COLORS, SHAPES
from tasks.readers.synthetic_things import PERSON, Thing

SIZE = 128
SEED = 11
NUM_SCENES = 24


@pytest.fixture(scope="module")
def reader() -> SyntheticReader:
    return SyntheticReader(options={"count": NUM_SCENES, "seed": SEED, "size": SIZE})


@pytest.fixture(scope="module")
def records(reader: SyntheticReader) -> list[Any]:
    return list(reader.read())


@pytest.fixture(scope="module")
def pairs(records: list[Any]) -> list[SourcePair]:
    return [record for record in records if isinstance(record, SourcePair)]


def scenes(count: int = 60) -> list[Scene]:
    return [make_scene(SEED, index) for index in range(count)]


def decode(mask: Any) -> np.ndarray:
    return np.asarray(coco_mask.decode(mask), bool)


def picture(reader: SyntheticReader, file: str) -> np.ndarray:
    return decode_image(reader.fetch(file))


def fingerprint(reader: SyntheticReader) -> str:
    digest = hashlib.sha256()
    for record in reader.read():
        digest.update(json.dumps(asdict(record)).encode())
        for file in (record.file, getattr(record, "target_file", record.file)):
            digest.update(reader.fetch(file))
    return digest.hexdigest()


def test_same_bytes_in_another_process_and_no_heavy_import() -> None:
    options = {"count": 3, "seed": 5, "size": 96}
    script = (
        "import sys, hashlib, json; from dataclasses import asdict\n"
        "from tasks.readers.synthetic import SyntheticReader\n"
        f"reader = SyntheticReader(options={options!r}); digest = hashlib.sha256()\n"
        "for record in reader.read():\n"
        "    digest.update(json.dumps(asdict(record)).encode())\n"
        "    for file in (record.file, getattr(record, 'target_file', record.file)):\n"
        "        digest.update(reader.fetch(file))\n"
        "assert not {'skimage', 'sklearn', 'torch', 'scipy'} & set(sys.modules)\n"
        "sys.stdout.write(digest.hexdigest())\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == fingerprint(SyntheticReader(options=options))


def test_any_order_of_fetching_gives_the_same_bytes(reader: SyntheticReader, pairs: list[SourcePair]) -> None:
    files = [pair.target_file for pair in pairs[:12]]
    forward = [reader.fetch(file) for file in files]
    for cached in (make_sprite, synthetic_scene.paint_ground, make_scene):
        cached.cache_clear()
    assert [reader.fetch(file) for file in reversed(files)] == forward[::-1]


def test_records_of_a_scene(records: list[Any]) -> None:
    assert len(records) == 7 * NUM_SCENES
    first = records[:7]
    assert isinstance(first[0], SourceImage)
    assert [pair.edit_type for pair in first[1:]] == [
        "object_removal",
        "object_addition",
        "object_replacement",
        "deblurring",
        "denoising",
        "watermark_removal",
    ]
    assert {pair.group for pair in first[1:]} == {first[0].file}
    assert len({record.source_id for record in records}) == len(records)


@pytest.mark.parametrize("kind", KINDS)
def test_kinds(kind: str) -> None:
    reader = make_reader("synthetic", "scenes", None, {"count": 1, "kinds": [kind]})
    found = {type(record).__name__ + getattr(record, "vision_task", "") for record in reader.read()}
    expected = {"regions": "SourceImage", "edits": "SourcePairimage_editing"}
    assert found == {expected.get(kind, "SourcePairimage_enhancement")}


def test_outside_the_region_nothing_changes(reader: SyntheticReader, pairs: list[SourcePair]) -> None:
    for pair in pairs:
        before, after = picture(reader, pair.file), picture(reader, pair.target_file)
        changed = (before != after).any(axis=2)
        assert changed.any(), pair.source_id
        if pair.region is not None:
            mask = decode(pair.region.mask)
            assert not np.any(changed & ~mask), pair.source_id
            if pair.vision_task == "image_editing":
                assert changed.sum() > 0.5 * mask.sum(), pair.source_id  # and the region is no larger than need be
        else:
            assert pair.edit_type in ("deblurring", "denoising")


def test_edits_are_the_scene_rendered_again(reader: SyntheticReader) -> None:
    for scene in scenes(NUM_SCENES):
        stem = f"scene-{scene.index:06d}"
        rest = [thing for k, thing in enumerate(scene.things) if k != scene.removed]
        naive = synthetic_scene.paint_ground(scene, SIZE).copy()
        for thing in rest:
            lay_over(naive, make_sprite.__wrapped__(thing, SIZE))
        assert np.array_equal(picture(reader, f"{stem}.without-{scene.removed}.png"), naive)
        replaced = picture(reader, f"{stem}.replaced-{scene.replaced}.png")
        assert np.array_equal(replaced, render(scene, scene.after_replacement(), SIZE))
        assert scene.replacement.kind != scene.things[scene.replaced].kind


def test_addition_is_the_removal_reversed(pairs: list[SourcePair]) -> None:
    for removal, addition in zip(pairs[::6], pairs[1::6], strict=True):
        assert (removal.file, removal.target_file) == (addition.target_file, addition.file)
        assert (removal.source_caption, removal.target_caption) == (addition.target_caption, addition.source_caption)
        assert removal.region == addition.region and removal.region is not None
        assert removal.instruction == f"remove the {removal.region.phrase}"
        assert addition.instruction in (f"add a {removal.region.phrase}", f"add an {removal.region.phrase}")


def test_masks_equal_the_difference_of_two_renderings(records: list[Any]) -> None:
    """A thing painted black and painted white differs by 255 times its share of each pixel."""
    for scene in scenes(8):
        masks = visible_masks(scene.things, SIZE)
        ground = np.full((SIZE, SIZE, 3), 90, np.uint8)
        for index, mask in enumerate(masks):
            black, white = ground.copy(), ground.copy()
            for k, thing in enumerate(scene.things):
                sprite = make_sprite(thing, SIZE)
                tint = 255 * sprite.cover * np.ones(3, np.float32)
                lay_over(black, replace(sprite, color=0 * tint) if k == index else sprite)
                lay_over(white, replace(sprite, color=tint) if k == index else sprite)
            share = (white.astype(int) - black).mean(axis=2) / 255
            # shadows of nearer things dim both, so compare shares that no rounding or shadow can tip
            sure = np.abs(share - 0.5) > 0.26
            assert np.array_equal(mask[sure], (share > 0.5)[sure])
            assert mask.sum() > 20
    stored = [record for record in records if isinstance(record, SourceImage)]
    for image in stored[:8]:
        masks = visible_masks(make_scene(SEED, int(image.source_id[-6:])).things, SIZE)
        assert all(np.array_equal(decode(r.mask), mask) for r, mask in zip(image.regions, masks, strict=True))
        assert np.sum(masks, axis=0).max() == 1


WORDS = re.compile(
    rf"(?:(small|large) )?(?:({'|'.join(COLORS)}) )?({'|'.join([*SHAPES, PERSON])})"
    r"(?: (to the left of|to the right of|above|below) the (.+))?"
)


def meant(phrase: str, things: tuple[Thing, ...]) -> set[int]:
    """Everything that a generous listener could take the phrase for."""
    match = WORDS.fullmatch(phrase)
    assert match is not None, phrase
    size, color, kind, predicate, anchor = match.groups()
    found = {k for k, thing in enumerate(things) if thing.kind == kind and color in (None, thing.color)}
    if size:
        heights = [things[k].height for k in found]
        extreme = min(heights) if size == "small" else max(heights)
        found = {k for k in found if things[k].height == extreme}
        ratios = sorted(heights)
        assert len(heights) > 1 and ratios[-1] >= 1.5 * ratios[0]
    if predicate:
        (other,) = meant(anchor, things)
        directions = {
            "to the left of": lambda t, a: t.x < a.x,
            "to the right of": lambda t, a: t.x > a.x,
            "above": lambda t, a: t.y < a.y,
            "below": lambda t, a: t.y > a.y,
        }
        found = {k for k in found - {other} if directions[predicate](things[k], things[other])}
    return found


def test_each_phrase_means_one_thing() -> None:
    forms = set()
    for scene in scenes(200):
        for index, description in enumerate(scene.descriptions):
            assert meant(description.text(), scene.things) == {index}
            forms.add((description.size is None, description.color is None, description.predicate is None))
            if description.predicate:
                left, top, right, bottom = scene.things[index].bounds
                (other,) = meant(str(description.anchor and description.anchor.text()), scene.things)
                bounds = scene.things[other].bounds
                gap = {
                    "to the left of": bounds[0] - right,
                    "to the right of": left - bounds[2],
                    "above": bounds[1] - bottom,
                    "below": top - bounds[3],
                }
                assert gap[description.predicate] > -0.03
    assert len(forms) >= 4


def test_no_phrase_names_what_the_ground_shows() -> None:
    for scene in scenes(200):
        kinds = {thing.kind for thing in (*scene.things, scene.replacement)}
        assert not kinds & scene.ground.rivals


def test_instructions_and_captions(pairs: list[SourcePair]) -> None:
    for pair in pairs:
        for text in (pair.source_caption, pair.target_caption):
            assert text is not None and re.match("a photo of (a|an|two|three) ", text)
            assert not re.search(r"\ba [aeiou]|\ban [^aeiou]", text), text
        if pair.edit_type == "object_replacement":
            assert pair.instruction is not None and pair.target_caption is not None
            new = pair.instruction.rpartition(" with ")[2].split(maxsplit=1)[1]
            assert new in pair.target_caption or f"{new}s" in pair.target_caption or f"{new}es" in pair.target_caption


def people() -> list[tuple[Scene, int]]:
    return [(s, k) for s in scenes(60) for k, thing in enumerate(s.things) if thing.kind == PERSON]


def test_joints_are_drawn_where_they_are_said_to_be(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each joint's own disc, drawn alone, has its middle at the keypoint."""
    scene, index = people()[0]
    person = scene.things[index]
    assert person.pose is not None
    discs: list[Any] = []
    monkeypatch.setattr(Canvas, "disc", lambda self, middle, extent, color: discs.append(middle))
    synthetic_person.draw_person(Canvas(100, 0.7), COLORS["red"], person.pose)
    monkeypatch.undo()
    located = synthetic_scene.locate_joints(person, 256)
    assert tuple(name for name, _, _ in located) == synthetic_person.JOINTS
    for name, x, y in located:
        joint = synthetic_person.joints_of(person.pose)[name]
        assert any(np.array_equal(joint, middle) for middle in discs), name
        monkeypatch.setattr(
            synthetic_scene, "draw_person", lambda canvas, *_, j=joint: canvas.disc(j, (0.05, 0.05), COLORS["red"])
        )
        sprite = make_sprite.__wrapped__(person, 256)
        rows, columns = np.indices(sprite.cover.shape[:2])
        weight = sprite.cover[:, :, 0] / sprite.cover.sum()
        assert abs(sprite.left + (weight * columns).sum() - x) < 0.1
        assert abs(sprite.top + (weight * rows).sum() - y) < 0.1


def test_visible_joints_are_on_the_person(records: list[Any]) -> None:
    seen = 0
    for image in records:
        for region in image.regions if isinstance(image, SourceImage) else ():
            assert (region.label == PERSON) == (region.keypoints is not None)
            for name, x, y, visibility in region.keypoints or []:
                assert 0 <= x <= SIZE - 1 and 0 <= y <= SIZE - 1
                assert decode(region.mask)[round(y), round(x)] == (visibility == 2), name
                seen += visibility == 2
    assert seen > 50


def test_every_shape_fits_its_canvas() -> None:
    for kind, shape in SHAPES.items():
        for angle in (-shape.tilt, 0.0, shape.tilt):
            cover = synthetic_scene._draw(Thing(kind, "red", 0.5, 0.5, 0.3, angle=angle), 256).picture()[1]
            assert cover.max() == 255
            assert not np.any(np.concatenate([cover[0], cover[-1], cover[:, 0], cover[:, -1]])), kind


@pytest.mark.parametrize("ground", GROUNDS, ids=lambda ground: ground.place)
@pytest.mark.parametrize("size", [64, 300])
def test_grounds(ground: Any, size: int) -> None:
    painted = ground.paint(np.random.default_rng(0), size)
    assert painted.shape == (size, size, 3) and painted.dtype == np.uint8
    assert painted.std() > 3
    assert ground.licence.startswith("generated")


@pytest.mark.parametrize(
    "file", ["scene-999999.png", "scene-000000.without-9.png", "../secret.png", "scene-000000.png.png", "x", ""]
)
def test_unknown_file(reader: SyntheticReader, file: str) -> None:
    with pytest.raises(RowRejected, match="missing_file"):
        reader.fetch(file)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"number": 3}, "count, kinds, seed, size"),
        ({"count": 0}, "count .* 1 to"),
        ({"seed": -1}, "seed"),
        ({"size": 256.0}, "size .* integer"),
        ({"size": 10}, "64 to 2048"),
        ({"kinds": ["scenes"]}, "regions, edits, enhancement"),
        ({"kinds": []}, "regions, edits, enhancement"),
    ],
)
def test_refused_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises(SourceError, match=message):
        SyntheticReader(options=options)


def test_a_root_is_refused(tmp_path: Any) -> None:
    with pytest.raises(SourceError, match="takes no root"):
        SyntheticReader(root=tmp_path)
