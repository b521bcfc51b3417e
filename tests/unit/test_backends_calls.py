"""Calling and loading backends: one bad item fails alone, wrong output is named, nothing is substituted."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from catalog.errors import BackendError, RowRejected
from catalog.reasons import Reason
from catalog.schema import SCORE_NAMES
from tasks.backends import registry
from tasks.backends.calls import MAX_DETAIL, call_batch
from tasks.backends.captioning import LabelCaptioner
from tasks.backends.instructing import GrammarInstructor
from tasks.backends.protocols import PAIR_SIMILARITIES, InstructionRequest, library_revision
from tasks.backends.registry import backend_id, describe_backends, load_backend
from tasks.grammar import replacement_instruction


class _Backend:
    """Any role, with ``each`` applied item by item."""

    name, revision, device = "test", "1", "cpu"

    def __init__(self, each: Callable[..., Any]) -> None:
        self.each = each
        self.batches: list[int] = []

    def _run(self, *columns: Sequence[Any]) -> list[Any]:
        self.batches.append(len(columns[0]))
        return [self.each(*item) for item in zip(*columns, strict=True)]

    inpaint = embed = caption = score = similarity = _run


def _raise(error: BaseException) -> Any:
    raise error


def _image(value: int) -> np.ndarray:
    return np.full((4, 4, 3), value, np.uint8)


_MASK = np.zeros((4, 4), bool)


def test_one_bad_item_fails_alone() -> None:
    def each(image: np.ndarray) -> float:
        return float(image[0, 0, 0]) if image[0, 0, 0] != 2 else _raise(RuntimeError("bad\x00 pixel\nin it"))

    backend = _Backend(each)
    first, second, third = call_batch("aesthetic_scorer", backend, [_image(1), _image(2), _image(3)])
    assert (first, third) == (1.0, 3.0)
    assert isinstance(second, RowRejected) and second.reason is Reason.BACKEND_FAILED
    assert second.detail == "aesthetic_scorer=test: RuntimeError: bad pixel in it"
    assert backend.batches == [3, 1, 1, 1]


def test_a_batch_that_only_fails_together_succeeds_item_by_item() -> None:
    class OutOfMemory(_Backend):
        def score(self, images: Sequence[Any]) -> list[float]:
            return [1.0] if len(images) == 1 else _raise(RuntimeError("CUDA out of memory"))

    assert call_batch("aesthetic_scorer", OutOfMemory(float), [_image(1)] * 3) == [1.0] * 3


def test_a_long_message_is_cut() -> None:
    backend = _Backend(lambda image: _raise(KeyError("x" * 5000)))
    outcome = call_batch("aesthetic_scorer", backend, [_image(1)])[0]
    assert len(outcome.detail) == MAX_DETAIL and outcome.detail.endswith("…")


@pytest.mark.parametrize(
    "error", [MemoryError(), KeyboardInterrupt(), SystemExit(), BackendError("no server at :8080")]
)
def test_what_is_nobodys_row_ends_the_step(error: BaseException) -> None:
    backend = _Backend(lambda image: _raise(error))
    with pytest.raises(type(error)):
        call_batch("aesthetic_scorer", backend, [_image(1), _image(2)])


def test_the_backends_own_reason_is_kept() -> None:
    backend = _Backend(lambda image: _raise(RowRejected(Reason.REGION_TOO_SMALL, "3 pixels")))
    outcome = call_batch("aesthetic_scorer", backend, [_image(1)])[0]
    assert outcome.reason is Reason.REGION_TOO_SMALL and outcome.detail == "aesthetic_scorer=test: 3 pixels"


def test_a_backend_may_name_the_bad_item_itself() -> None:
    """Then the batch is not run again."""
    bad = RowRejected(Reason.BAD_INSTRUCTION, "answer: none")
    backend = _Backend(lambda image: bad if image[0, 0, 0] == 2 else 1.0)
    first, second, third = call_batch("aesthetic_scorer", backend, [_image(1), _image(2), _image(3)])
    assert (first, third) == (1.0, 1.0) and backend.batches == [3]
    assert second.reason is Reason.BAD_INSTRUCTION and second.detail == "aesthetic_scorer=test: answer: none"


def test_every_instructors_answers_keep_the_rules() -> None:
    class Instructor(_Backend):
        instruct = _Backend._run

    requests = [InstructionRequest(edit_type="object_removal", phrase=noun) for noun in ("dog", "cat", "cup")]
    answers = iter(["remove the dog", "remove the dog", 5])
    good, other, number = call_batch("instructor", Instructor(lambda request: next(answers)), requests)
    assert good == "remove the dog"
    assert other.reason is Reason.BAD_INSTRUCTION and other.detail == "instructor=test: source: it does not name cat"
    assert number.reason is Reason.BAD_OUTPUT


def test_no_items_need_no_call() -> None:
    backend = _Backend(lambda image: 1.0)
    assert call_batch("aesthetic_scorer", backend, []) == []
    assert backend.batches == []


_BAD: list[tuple[str, tuple[Any, ...], Any, str]] = [
    ("inpainter", (_image(1), _MASK), _image(1).astype(float), "uint8"),
    ("inpainter", (_image(1), _MASK), "image", "uint8"),
    ("inpainter", (_image(1), _MASK), _image(1)[:3], "shape"),
    ("inpainter", (_image(1), _MASK), _image(2), "16 pixels changed outside"),
    ("embedder", (_image(1),), np.ones(4, np.float64) / 2, "float32"),
    ("embedder", (_image(1),), np.ones(4, np.float32), "length 1"),
    ("embedder", (_image(1),), np.full(4, np.nan, np.float32), "length 1"),
    ("captioner", (_image(1), [], []), None, "text"),
    ("captioner", (_image(1), [], []), " ", "characters"),
    ("captioner", (_image(1), [], []), "a\nb", "one line"),
    ("aesthetic_scorer", (_image(1),), float("nan"), "finite"),
    ("aesthetic_scorer", (_image(1),), "5", "float"),
    ("pair_similarity", (_image(1), _image(1), "a", "b"), {"image_similarity": 0.5}, "direction_similarity"),
    ("pair_similarity", (_image(1), _image(1), "a", "b"), dict.fromkeys(PAIR_SIMILARITIES, 1.5), r"in \[-1, 1\]"),
]


@pytest.mark.parametrize(("role", "item", "output", "detail"), _BAD)
def test_wrong_output_is_the_rows_reason(role: str, item: tuple[Any, ...], output: Any, detail: str) -> None:
    outcome = call_batch(role, _Backend(lambda *_: output), *[[value] for value in item])[0]
    assert isinstance(outcome, RowRejected) and outcome.reason is Reason.BAD_OUTPUT
    with pytest.raises(RowRejected, match=detail):
        raise outcome


def test_a_wrong_number_of_results_is_bad_output() -> None:
    class Short(_Backend):
        def score(self, images: Sequence[Any]) -> list[float]:
            return []

    outcomes = call_batch("aesthetic_scorer", Short(float), [_image(1), _image(2)])
    assert [outcome.reason for outcome in outcomes] == [Reason.BAD_OUTPUT] * 2


def test_unknown_names_list_the_choices() -> None:
    with pytest.raises(BackendError, match="no backend role 'painter'; choose from inpainter"):
        load_backend("painter", "opencv")
    with pytest.raises(BackendError, match="no inpainter named 'lame'; choose from opencv, exemplar"):
        load_backend("inpainter", "lame")


def test_unknown_and_wrong_options_are_refused() -> None:
    with pytest.raises(BackendError, match="no option 'weights'; its options are: none"):
        load_backend("inpainter", "exemplar", weights="x")
    with pytest.raises(BackendError, match="its options are: method, radius"):
        load_backend("inpainter", "opencv", radios=3)
    with pytest.raises(BackendError, match="method must be one of telea, navier-stokes"):
        load_backend("inpainter", "opencv", method="magic")
    with pytest.raises(BackendError, match="radius must be"):
        load_backend("inpainter", "opencv", radius=0)


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry.ROLES["embedder"], "far", "package_that_is_not_there.sub:Embedder")
    with pytest.raises(
        BackendError, match=r"needs the package 'package_that_is_not_there'.*pip install 'ieiw\[models\]'"
    ):
        load_backend("embedder", "far")


def test_options_that_change_results_change_the_revision() -> None:
    ids = {
        backend_id("inpainter", load_backend("inpainter", "opencv", **options))
        for options in ({}, {"radius": 3}, {"method": "navier-stokes"})
    }
    assert len(ids) == 3
    assert library_revision(2, {"k": 1}, numpy="2.4") == "2+k-1+numpy-2.4"


def test_every_backend_is_described() -> None:
    rows = describe_backends()
    assert {(role, name) for role, name, _ in rows} == {
        (role, name) for role in registry.ROLES for name in registry.ROLES[role]
    }
    assert all(line for _, _, line in rows)


def test_similarities_are_columns_of_the_score_table() -> None:
    assert set(PAIR_SIMILARITIES) <= set(SCORE_NAMES)


def test_captions_come_from_captions_then_labels() -> None:
    labels: list[list[str]] = [
        ["cup"],
        ["coin", "cup", "coin"],
        [],
        ["person"] * 3 + ["dining table"],
        ["grass", "sheep", "sheep"],
        ["skis", "hour glass"],
        ["largest coin", "cup"],
    ]
    captions: list[list[str]] = [["  ", "A  cup\ton a table. "], [], [""], [], [], [], []]
    assert LabelCaptioner().caption([_image(0)] * 7, labels, captions) == [
        "A cup on a table.",
        "a photo of two coins and a cup",
        "a photo",
        "a photo of three people and a dining table",
        "a photo of grass and two sheep",
        "a photo of skis and an hour glass",
        "a photo of the largest coin and a cup",
    ]


def test_instructions_by_edit_type() -> None:
    requests = [
        InstructionRequest(edit_type="object_removal", phrase="blue bird on top of tree", label="bird"),
        InstructionRequest(edit_type="object_addition", phrase="blue bird on top of tree", label="bird"),
        InstructionRequest(edit_type="object_replacement", phrase="running dog", replacement_phrase="orange cat"),
        InstructionRequest(
            edit_type="object_replacement",
            source_caption="a running dog",
            target_caption="a cute cat with black and white stripes",
        ),
        InstructionRequest(
            edit_type="object_removal", label="cup", attributes=("white",), relations=(("on", "table"),)
        ),
        InstructionRequest(edit_type="object_removal"),
        InstructionRequest(edit_type="photo_request", phrase="dog"),
    ]
    outcomes = call_batch("instructor", GrammarInstructor(), requests)
    assert outcomes[:2] == ["remove the blue bird on top of the tree", "add a blue bird on top of the tree"]
    assert outcomes[2] == replacement_instruction("running dog", "orange cat")
    assert outcomes[3] == replacement_instruction("a running dog", "a cute cat with black and white stripes")
    assert outcomes[4] == "remove the white cup on the table"
    assert [outcome.reason for outcome in outcomes[5:]] == [Reason.EMPTY_PHRASE, Reason.BAD_INSTRUCTION]
