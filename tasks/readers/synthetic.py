"""Rendered scenes with exact truth for every vision task, from a seed alone: no download, no folder.

A scene holds two to five coloured things, perhaps a person, on a photo or a texture. From it come

* a `SourceImage`: the exact visible mask of each thing, a phrase that means it alone, the person's joints;
* `SourcePair` edits: a removal, its reverse addition, a replacement, with before and after both rendered; their
  region holds every pixel that the edit can change, outside it the two pictures are equal;
* `SourcePair` enhancements: blurred, noisy and watermarked copies with the clean scene as the target.

``file`` says what to render: ``scene-000012.png``, ``scene-000012.without-2.png`` (thing 2 left out),
``scene-000012.replaced-1.png``, ``scene-000012.blurred.png``, ``.noisy.png``, ``.watermarked.png``.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from catalog.errors import RowRejected, SourceError
from catalog.images import encode_png
from catalog.masks import PolygonRule
from catalog.reasons import Reason
from tasks.readers.locations import Location
from tasks.readers.reader_options import complete_options, require_integer
from tasks.readers.records import Record, SourceImage, SourcePair, SourceRegion
from tasks.readers.run_length import encode_run_length
from tasks.readers.synthetic_damage import add_noise, add_watermark, blur, draw_watermark
from tasks.readers.synthetic_grounds import Picture
from tasks.readers.synthetic_layout import Scene, make_scene
from tasks.readers.synthetic_scene import Mask, locate_joints, render, support, visible_masks
from tasks.readers.synthetic_things import PERSON, Thing
from tasks.readers.synthetic_words import (
    addition_instruction,
    caption,
    plain_relations,
    removal_instruction,
    replacement_instruction,
)

KINDS = ("regions", "edits", "enhancement")
DAMAGES = {"blurred": "deblurring", "noisy": "denoising", "watermarked": "watermark_removal"}
"""Word in the file name -> ``edit_type``."""

_DEFAULTS: dict[str, Any] = {"count": 24, "seed": 0, "size": 256, "kinds": list(KINDS)}
_FILE = re.compile(r"scene-(\d{6,})(?:\.(without|replaced)-(\d)|\.(blurred|noisy|watermarked))?\.png")
_DAMAGE_PURPOSE = 2


@dataclass
class SyntheticReader:
    """Rendered scenes.

    Options: ``count`` (scenes, default 24), ``seed`` (default 0), ``size`` (side in pixels, default 256, the
    paper's, section 4.1), ``kinds`` (any of regions, edits, enhancement; default all).
    """

    root: Path | None = None
    options: dict[str, Any] = field(default_factory=dict)
    name: str = "synthetic"
    revision: str = field(default="1", init=False)
    polygon_rule: PolygonRule = field(default="coco", init=False)
    counts_stored_pixels: ClassVar[bool] = True
    sources_are_photos: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if self.root is not None:
            raise SourceError(f"Reader synthetic renders its images and takes no root; got {self.root}.")
        self.options = complete_options("synthetic", self.options, _DEFAULTS)
        require_integer("synthetic", "count", self.options["count"], 1, 1_000_000)
        require_integer("synthetic", "seed", self.options["seed"], 0, 2**63 - 1)
        require_integer("synthetic", "size", self.options["size"], 64, 2048)
        kinds = self.options["kinds"]
        if not isinstance(kinds, list) or not kinds or any(kind not in KINDS for kind in kinds):
            raise SourceError(f"Option kinds of reader synthetic must be a list of {', '.join(KINDS)}; got {kinds!r}.")

    def read(self) -> Iterator[Record]:
        """The records of each scene in turn: the image, its edits, its enhancements."""
        kinds, size = self.options["kinds"], self.options["size"]
        for index in range(self.options["count"]):
            scene = make_scene(self.options["seed"], index)
            if "regions" in kinds:
                yield scene_image(scene, size)
            if "edits" in kinds:
                yield from edit_pairs(scene, size)
            if "enhancement" in kinds:
                yield from enhancement_pairs(scene, size)

    def locate(self, file: str) -> Location:
        """Nowhere: every picture is rendered."""
        return Location(file, is_plain=False)

    def fetch(self, file: str) -> bytes:
        """The PNG behind a file name of `read`: the same bytes every time. Raises RowRejected for others."""
        match = _FILE.fullmatch(file)
        if match is None or int(match[1]) >= self.options["count"]:
            raise RowRejected(Reason.MISSING_FILE, f"no scene picture is called {file}")
        scene, size = make_scene(self.options["seed"], int(match[1])), self.options["size"]
        if match[2] and int(match[3]) >= len(scene.things):
            raise RowRejected(Reason.MISSING_FILE, f"{file}: the scene has {len(scene.things)} things")
        if match[2] == "without":
            return encode_png(render(scene, scene.without(int(match[3])), size))
        if match[2] == "replaced":
            return encode_png(render(scene, scene.after_replacement(), size))
        picture = render(scene, scene.things, size)
        return encode_png(damaged(scene, picture, match[4]) if match[4] else picture)


def damaged(scene: Scene, picture: Picture, damage: str) -> Picture:
    """A scene's picture under one of `DAMAGES`."""
    apply = {"blurred": blur, "noisy": add_noise, "watermarked": add_watermark}[damage]
    return apply(picture, _damage_generator(scene, damage))


def _damage_generator(scene: Scene, damage: str) -> np.random.Generator:
    return scene.generator(_DAMAGE_PURPOSE + list(DAMAGES).index(damage))


def _stem(scene: Scene) -> str:
    return f"scene-{scene.index:06d}"


def scene_image(scene: Scene, size: int) -> SourceImage:
    """The scene with a region per thing, from back to front."""
    masks = visible_masks(scene.things, size)
    return SourceImage(
        source_id=_stem(scene),
        file=f"{_stem(scene)}.png",
        width=size,
        height=size,
        licence=scene.ground.licence,
        captions=(caption(scene.things, scene.ground.place),),
        regions=tuple(_region(scene, index, mask, size) for index, mask in enumerate(masks)),
    )


def _region(scene: Scene, index: int, mask: Mask, size: int) -> SourceRegion:
    thing = scene.things[index]
    relations = plain_relations(scene.things, index)
    return SourceRegion(
        annotation_id=str(index),
        phrase=scene.descriptions[index].text(),
        label=thing.kind,
        attributes=_attributes(thing),
        relations=tuple(
            (found.predicate, found.anchor.text()) for found in relations if found.predicate and found.anchor
        ),
        mask=encode_run_length(mask),
        keypoints=_keypoints(thing, mask, size) if thing.kind == PERSON else None,
    )


def _attributes(thing: Thing) -> tuple[str, ...]:
    size = (thing.size_word,) if thing.size_word and thing.kind != PERSON else ()
    return (f"{thing.color} shirt",) if thing.kind == PERSON else (*size, thing.color)


def _keypoints(thing: Thing, mask: Mask, size: int) -> list[list[Any]]:
    """[name, x, y, visibility] per joint: 2 where the person is seen there, 1 where something hides it."""
    return [[name, x, y, 2 if mask[round(y), round(x)] else 1] for name, x, y in locate_joints(thing, size)]


def edit_pairs(scene: Scene, size: int) -> Iterator[SourcePair]:
    """A removal, the same in reverse, and a replacement."""
    removal = _removal(scene, size)
    yield removal
    yield replace(
        removal,
        source_id=f"{_stem(scene)}.addition",
        file=removal.target_file,
        target_file=removal.file,
        edit_type="object_addition",
        instruction=addition_instruction(scene.descriptions[scene.removed].text()),
        source_caption=removal.target_caption,
        target_caption=removal.source_caption,
    )
    yield _replacement(scene, size)


def _removal(scene: Scene, size: int) -> SourcePair:
    full, place = f"{_stem(scene)}.png", scene.ground.place
    return SourcePair(
        source_id=f"{_stem(scene)}.removal",
        file=full,
        target_file=f"{_stem(scene)}.without-{scene.removed}.png",
        vision_task="image_editing",
        edit_type="object_removal",
        instruction=removal_instruction(scene.descriptions[scene.removed].text()),
        licence=scene.ground.licence,
        source_caption=caption(scene.things, place),
        target_caption=caption(scene.without(scene.removed), place),
        region=_edit_region(scene, scene.removed, (scene.things[scene.removed],), size),
        group=full,
    )


def _replacement(scene: Scene, size: int) -> SourcePair:
    full, place = f"{_stem(scene)}.png", scene.ground.place
    old, new = scene.things[scene.replaced], scene.replacement
    phrase = scene.descriptions[scene.replaced].text()
    return SourcePair(
        source_id=f"{_stem(scene)}.replacement",
        file=full,
        target_file=f"{_stem(scene)}.replaced-{scene.replaced}.png",
        vision_task="image_editing",
        edit_type="object_replacement",
        instruction=replacement_instruction(phrase, f"{new.color} {new.kind}"),
        licence=scene.ground.licence,
        source_caption=caption(scene.things, place),
        target_caption=caption(scene.after_replacement(), place),
        region=_edit_region(scene, scene.replaced, (old, new), size),
        group=full,
    )


def _edit_region(scene: Scene, index: int, changed: tuple[Thing, ...], size: int) -> SourceRegion:
    """Every pixel in which the appearing and vanishing things can be seen, or their shadow."""
    thing = scene.things[index]
    mask = support(changed, scene.things[index + 1 :], size)
    return SourceRegion(
        annotation_id=str(index),
        phrase=scene.descriptions[index].text(),
        label=thing.kind,
        attributes=_attributes(thing),
        mask=encode_run_length(mask),
    )


def enhancement_pairs(scene: Scene, size: int) -> Iterator[SourcePair]:
    """The scene's clean picture as the target of each damaged copy."""
    full, text = f"{_stem(scene)}.png", caption(scene.things, scene.ground.place)
    for damage, edit_type in DAMAGES.items():
        region = None
        if damage == "watermarked":
            ink = draw_watermark(size, _damage_generator(scene, damage))
            region = SourceRegion(annotation_id="watermark", label="watermark", mask=encode_run_length(ink > 0))
        yield SourcePair(
            source_id=f"{_stem(scene)}.{damage}",
            file=f"{_stem(scene)}.{damage}.png",
            target_file=full,
            vision_task="image_enhancement",
            edit_type=edit_type,
            licence=scene.ground.licence,
            source_caption=text,
            target_caption=text,
            region=region,
            group=full,
        )
