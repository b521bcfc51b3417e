"""Step ``word_edits``: captions and an instruction for every edit; removals are also reversed.

Paper section 3.2: the input and output of a removal are swapped and "remove the blue bird on top of the tree"
becomes "add a blue bird on top of the tree". The two pairs name each other in ``reversed_pair_id``. A replacement is
not reversed: the paper reverses removals only, and the way back would teach to make a photo out of a paste.
"""

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

import numpy as np

from catalog.digests import value_digest
from catalog.errors import RowRejected
from catalog.masks import decode_mask, mask_box
from catalog.store import ShardWriter
from tasks.backends.calls import call_batch
from tasks.backends.protocols import InstructionRequest
from tasks.instruction_check import check_instruction
from tasks.patches import cut
from tasks.phrases import subject
from tasks.records_check import object_name
from tasks.row_images import RowImages
from tasks.steps import Row, StepContext

REVERSED = {"object_removal": "object_addition"}
_BATCH = 16
_Captions = Mapping[tuple[str, str], str | RowRejected]
"""What the captioner said of each picture."""
_CARRIED = (
    "edit_type",
    "region_id",
    "group_id",
    "dataset",
    "split",
    "licence",
    "source_image",
    "target_image",
    "edit_mask",
    "phrase",
    "label",
    "mask",
    "bbox",
    "keypoints",
    "donor",
    "parameters",
    "reason",
    "detail",
)


def word_edits(context: StepContext, writer: ShardWriter) -> Iterator[Row]:
    """Yield each edit's pair, followed by the reversed pair where the edit has one."""
    images = RowImages(context.roots, capacity=2 * _BATCH)
    edits = iter(context.rows)
    while batch := list(islice(edits, _BATCH)):
        batch = [_opened(images, edit) for edit in batch]
        pairs = [pair for edit in batch for pair in _pairs(edit, context.backend_ids)]
        words = _caption(context, images, batch, pairs)
        requests = {pair["pair_id"]: _request(edit, pair, words) for edit, pair in _zip(batch, pairs)}
        _instruct(context, [pair for pair in pairs if pair["reason"] is None], requests)
        yield from pairs


def _opened(images: RowImages, edit: Row) -> Row:
    """The edit, with the reason why where one of its pictures has gone or changed since it was made."""
    if edit["reason"] is None:
        try:
            for side in ("source", "target"):
                images.read(edit[f"{side}_image"])
        except RowRejected as rejected:
            return edit | {"reason": str(rejected.reason), "detail": rejected.detail}
    return edit


def _pairs(edit: Mapping[str, Any], backends: tuple[str, ...]) -> list[Row]:
    """The pair of an edit and its reverse, without words yet."""
    carried = {name: edit[name] for name in _CARRIED}
    pair: Row = {
        "pair_id": value_digest(["pair", edit["edit_id"], backends])[:32],
        "vision_task": "image_editing",
        "backends": [*edit["backends"], *backends],
        **carried,
    }
    if edit["edit_type"] not in REVERSED:
        return [pair]
    back = pair | {
        "pair_id": value_digest(["reversed", edit["edit_id"], backends])[:32],
        "edit_type": REVERSED[edit["edit_type"]],
        "source_image": pair["target_image"],
        "target_image": pair["source_image"],
        "reversed_pair_id": pair["pair_id"],
    }
    return [pair | {"reversed_pair_id": back["pair_id"]}, back]


def _zip(edits: list[Row], pairs: list[Row]) -> Iterator[tuple[Row, Row]]:
    """Each pair with the edit that it comes from."""
    remaining = iter(pairs)
    for edit in edits:
        for _ in range(2 if edit["edit_type"] in REVERSED else 1):
            yield edit, next(remaining)


def _request(edit: Mapping[str, Any], pair: Mapping[str, Any], words: _Captions) -> InstructionRequest:
    donor = edit["donor"] or {}
    return InstructionRequest(
        edit_type=pair["edit_type"],
        phrase=edit["phrase"] or _said(words, edit, "source region"),
        label=edit["label"],
        attributes=tuple(edit["attributes"] or ()),
        relations=tuple((item["predicate"], item["object"]) for item in edit["relations"] or ()),
        num_instances=edit["num_instances"] or 1,
        source_caption=pair.get("source_caption"),
        target_caption=pair.get("target_caption"),
        replacement_phrase=donor.get("name") or _said(words, edit, "target region"),
    )


def _caption(context: StepContext, images: RowImages, edits: list[Row], pairs: list[Row]) -> _Captions:
    """Caption each distinct picture once, with the labels of what is in it, and give the pairs their captions."""
    pictures: dict[tuple[str, str], tuple[np.ndarray, list[str], list[str]]] = {}
    for edit in edits:
        if edit["reason"] is None:
            labels = list(edit["image_labels"] or ())
            after = _without(labels, edit) + ([edit["donor"]["name"]] if (edit["donor"] or {}).get("name") else [])
            # Without the dataset's own captions: there are none for targets, and the two must be worded alike.
            pictures[_place(edit, "source")] = (images.read(edit["source_image"]), labels, [])
            pictures[_place(edit, "target")] = (images.read(edit["target_image"]), after, [])
            for side in _unnamed(edit):
                pictures[_place(edit, f"{side} region")] = (_region(edit, images.read(edit[f"{side}_image"])), [], [])
    columns = [list(column) for column in zip(*pictures.values(), strict=True)]
    if not columns:
        return {}
    captions = dict(zip(pictures, call_batch("captioner", context.backends["captioner"], *columns), strict=True))
    for edit, pair in _zip(edits, pairs):
        if pair["reason"] is None:
            sides = ["source", "target"] if pair["edit_type"] == edit["edit_type"] else ["target", "source"]
            for column, side in zip(("source_caption", "target_caption"), sides, strict=True):
                _give(pair, column, captions[_place(edit, side)])
    return captions


def _unnamed(edit: Mapping[str, Any]) -> list[str]:
    """The sides of a replacement whose object the data set has no words for: its region is captioned by itself."""
    if edit["donor"] is None:
        return []
    named = {"source": edit["phrase"] or edit["label"], "target": edit["donor"]["name"]}
    return [side for side, words in named.items() if not words]


def _region(edit: Mapping[str, Any], image: np.ndarray) -> np.ndarray:
    box = mask_box(decode_mask(edit["edit_mask"]))
    return np.ascontiguousarray(cut(image, [int(number) for number in box]))


def _said(captions: _Captions, edit: Mapping[str, Any], side: str) -> str | None:
    """What a region's caption is about, where it has one."""
    caption = captions.get(_place(edit, side)) if edit["reason"] is None and edit["donor"] else None
    return subject(caption) or None if isinstance(caption, str) else None


def _instruct(context: StepContext, pairs: list[Row], requests: Mapping[str, InstructionRequest]) -> None:
    if not pairs:
        return
    answers = call_batch("instructor", context.backends["instructor"], [requests[pair["pair_id"]] for pair in pairs])
    for pair, answer in zip(pairs, answers, strict=True):
        try:
            if isinstance(answer, str):
                check_instruction(answer)
        except RowRejected as rejected:
            answer = rejected
        _give(pair, "instruction", answer)


def _give(pair: Row, column: str, answer: str | RowRejected) -> None:
    """An answer into its column, or what went wrong into the pair's reason."""
    if isinstance(answer, RowRejected):
        pair |= {"reason": str(answer.reason), "detail": answer.detail}
    else:
        pair[column] = answer


def _place(edit: Mapping[str, Any], side: str) -> tuple[str, str]:
    """A picture and the labels that it is captioned with: pictures of one photo with equal labels are one."""
    image = edit[f"{side.split()[0]}_image"]["sha256"]
    return image, "|".join(edit["image_labels"] or ()) if side == "source" else f"{edit['edit_id']} {side}"


def _without(labels: list[str], edit: Mapping[str, Any]) -> list[str]:
    """The names of what is left in the picture once the object is gone."""
    gone = edit["label"] and object_name(edit["label"], edit["attributes"] or [])
    rest = list(labels)
    for _ in range(edit["num_instances"] or 1):
        if gone in rest:
            rest.remove(gone)
    return rest
