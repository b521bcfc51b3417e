"""Wording: templates are checked where they are read, sentences hold what they must and read well."""

import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalog.drawing_colors import COLORS, color_table
from catalog.errors import ConfigError, RowRejected
from catalog.instruction_templates import read_templates
from catalog.instructions import (
    definite,
    joint_words,
    names_a_side,
    other_side,
    word_enhancement,
    word_keypoints,
    word_segmentation,
)
from catalog.reasons import Reason
from catalog.render_styles import TEMPLATES

NAMES = ["segmentation", "keypoint_detection", "deblurring", "denoising", "watermark_removal"]
JOINTS = [
    ("left shoulder", "red"),
    ("nose", "blue"),
    ("right knee", "green"),
    ("left ankle", "cyan"),
    ("neck", "gray"),
]


@pytest.mark.parametrize("name", NAMES)
def test_each_task_has_ten_sentences(name: str) -> None:
    sentences = read_templates(name)
    assert len(sentences) == 10
    for sentence in sentences:
        assert sentence[0].isupper() and sentence[-1] in ".?" and "  " not in sentence


def test_every_template_file_belongs_to_a_task() -> None:
    for folder in (TEMPLATES, TEMPLATES / "expanded", TEMPLATES / "simple"):
        assert sorted(path.stem for path in folder.glob("*.txt")) == sorted(NAMES), folder


def test_every_template_is_chosen_alike_and_by_the_generator_alone() -> None:
    for name in NAMES[2:]:
        drawn = [word_enhancement(name, np.random.default_rng(seed)) for seed in range(400)]
        counts = [drawn.count(sentence) for sentence in read_templates(name)]
        assert min(counts) > 15 and sum(counts) == 400
        assert drawn[:9] == [word_enhancement(name, np.random.default_rng(seed)) for seed in range(9)]


@pytest.mark.parametrize("color", COLORS)
def test_segmentation_names_object_and_color(color: str) -> None:
    for seed in range(40):
        text = word_segmentation("Blue bird on top of the tree.", color, np.random.default_rng(seed))
        assert "the blue bird on top of the tree" in text and color in text
        assert not re.search(r"[{}\[\]]|\ba [aeiou]|the the", text)


@pytest.mark.parametrize("count", range(1, 6))
def test_keypoints_are_one_sentence_with_every_joint_beside_its_color(count: int) -> None:
    for seed in range(40):
        text = word_keypoints(JOINTS[:count], "person", np.random.default_rng(seed))
        assert "the person" in text and text[0].isupper()
        assert len(re.findall(r"[.?!]", text)) == 1 and text[-1] in ".?"
        assert not re.search(r"[{}\[\]]|\ba [aeiou]|  | ,", text)
        clauses = re.split(
            r", | and (?=the |a )", re.sub(r" and change.*|, keeping.*|^(On|For) the person, ", "", text)
        )
        assert len(clauses) == count
        for clause, (joint, color) in zip(clauses, JOINTS, strict=False):
            assert f"the {joint}" in clause and color in clause


def test_a_sentence_of_three_joints_reads_well() -> None:
    rng = np.random.default_rng(0)
    texts = {word_keypoints(JOINTS[:3], "a man on the left", rng) for _ in range(300)}
    assert len(texts) == 10
    assert (
        "Place a red dot on the left shoulder, a blue dot on the nose and a green dot on the right knee "
        "of the man on the left."
    ) in texts
    assert (
        "On the man on the left, show the left shoulder as a red spot, the nose as a blue spot and "
        "the right knee as a green spot."
    ) in texts


@pytest.mark.parametrize(
    ("phrase", "expected"),
    [
        ("bird", "the bird"),
        ("the bird", "the bird"),
        ("A bird", "the bird"),
        ("an  apple\n", "the apple"),
        ("Left guy.", "the left guy"),
        ("guy", "the guy"),
        ("two men", "the two men"),
        ("all people", "all people"),
        ("His hat", "his hat"),
        ("NYC taxi", "the NYC taxi"),
        ("anchor", "the anchor"),
        ("theater", "the theater"),
        ("a", "the a"),
        ("left", "the one on the left"),
        ("Top right.", "the one at the top right"),
        ("middle", "the one in the middle"),
        ("left side", "the one on the left side"),
        ("left one", "the left one"),
        ("in white", "the one in white"),
        ("on the left", "the one on the left"),
        ("dark blue", "the dark blue one"),
        ("orange", "the orange"),
        ("some trees", "the trees"),
        ("standing man", "the standing man"),
        ("sitting on bench", "the one sitting on bench"),
        ("near tree", "the one near tree"),
        ("with", "the with"),
        ("{color} [x]", "the {color} [x]"),
    ],
)
def test_definite(phrase: str, expected: str) -> None:
    assert definite(phrase) == expected


@given(st.text(max_size=30), st.integers(0, 99))
def test_any_phrase_is_worded_or_rejected_and_never_parsed(phrase: str, seed: int) -> None:
    try:
        text = word_segmentation(phrase, "red", np.random.default_rng(seed))
    except RowRejected as error:
        assert error.reason == Reason.EMPTY_PHRASE
        return
    assert definite(phrase) in text


def test_the_name_of_a_class_stands_as_it_is() -> None:
    for seed in range(40):
        text = word_segmentation(" tv monitor ", "red", np.random.default_rng(seed), is_class=True)
        assert " tv monitor" in text and "the tv" not in text and "  " not in text
    with pytest.raises(RowRejected, match="empty_phrase"):
        word_segmentation(" . ", "red", np.random.default_rng(0), is_class=True)


def test_joints_of_animals_and_heads_have_their_articles() -> None:
    assert joint_words("root of tail", ["nose", "root of tail"], "corrected") == "root of the tail"
    assert joint_words("root of tail", ["root of tail"], "official") == "root_of_tail"
    assert joint_words("head top", [], "corrected") == "top of the head"


def test_sides() -> None:
    assert all(map(names_a_side, ["left dog", "the RIGHTMOST", "lady on the l", "guy at 3 o'clock", "lft one"]))
    assert not any(map(names_a_side, ["dog", "small red car", "lady", ""]))
    assert [other_side(name) for name in ("left knee", "right eye", "nose", "upright")] == [
        "right knee",
        "left eye",
        "nose",
        "upright",
    ]


def test_words_that_cannot_be_found() -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(RowRejected, match=Reason.NO_KEYPOINTS):
        word_keypoints([], "person", rng)
    for edit_type in ("colorization", "segmentation", "../segmentation"):
        with pytest.raises(RowRejected, match=Reason.BAD_INSTRUCTION):
            word_enhancement(edit_type, rng)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        (
            "segmentation",
            "# head\n\nPaint {object} {color}.\nPaint {object}.\n",
            r"segmentation\.txt, line 4: needs \{color\}",
        ),
        ("segmentation", "Paint {object} {color} {size}.\n", r"line 1: .*found .*\{size\}"),
        ("segmentation", "Paint {object} {object} {color}.\n", r"line 1: .*each once"),
        ("segmentation", "Paint {object} {color!r}.\n", "line 1"),
        ("segmentation", "Paint {object} {color:>9}.\n", "line 1"),
        ("segmentation", "Paint {object.real} {color}.\n", "line 1"),
        ("segmentation", "Paint {object} {color.\n", "line 1: braces do not match"),
        ("segmentation", "Paint {object} {}.\n", "line 1"),
        (
            "segmentation",
            "Paint {object} {color}.\nPaint {object} {color}.\n",
            "line 2: the same sentence as in line 1",
        ),
        ("deblurring", "Sharpen {object}.\n", r"line 1: needs no slot.*found \{object\}"),
        (
            "keypoint_detection",
            "Mark the {joint} {color} of {person}.\n",
            r"line 1: needs exactly one part in \[brackets\]",
        ),
        ("keypoint_detection", "Mark [{joint}] [{color}] of {person}.\n", "exactly one part"),
        ("keypoint_detection", "Mark ]{joint} {color}[ of {person}.\n", "exactly one part"),
        ("keypoint_detection", "Mark [{joint} {color} of {person}].\n", "line 1: needs"),
        ("keypoint_detection", "Mark [the {joint}] of {person}.\n", r"needs \{color\}, \{joint\}"),
        ("denoising", "# nothing\n\n", "holds no template"),
    ],
)
def test_bad_templates_are_named_by_file_and_line(tmp_path: Path, name: str, text: str, message: str) -> None:
    (tmp_path / f"{name}.txt").write_text(text)
    with pytest.raises(ConfigError, match=message):
        read_templates(name, tmp_path)


def test_unreadable_templates_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"denoising\.txt"):
        read_templates("denoising", tmp_path)
    (tmp_path / "denoising.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match=r"denoising\.txt"):
        read_templates("denoising", tmp_path)


def test_own_templates_take_the_place_of_ours(tmp_path: Path) -> None:
    (tmp_path / "denoising.txt").write_text("Entrauschen.\n")
    assert word_enhancement("denoising", np.random.default_rng(0), tmp_path) == "Entrauschen."


def test_colors() -> None:
    assert len(set(COLORS.values())) == len(COLORS) >= 9
    assert all(name[0] not in "aeiou" for name in COLORS), "templates say 'a {color}'"
    values = np.array(list(COLORS.values()), float)
    distances = np.linalg.norm(values[:, None] - values, axis=2)
    assert distances[~np.eye(len(values), dtype=bool)].min() > 120
    assert color_table("segmentation") == color_table("keypoint_detection") == COLORS
    assert color_table("segmentation", "official")["green"] == (0, 128, 0)
    assert color_table("keypoint_detection", "official")["green"] == (0, 255, 0)
    assert len(color_table("segmentation", "official")) == 8
    assert len(color_table("keypoint_detection", "official")) == 9
    with pytest.raises(ConfigError, match="corrected, official, fixed"):
        color_table("segmentation", "paper")  # type: ignore[arg-type]
