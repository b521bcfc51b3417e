"""Instructions sorted by rule, and captions edited by it: sentences as people write them in edit datasets."""

import pytest

from tasks.backends.caption_rules import RuleCaptionEditor
from tasks.edit_rules import ADDITION, EDIT_CLASSES, REMOVAL, REPLACEMENT, rule_edit


@pytest.mark.parametrize(
    ("instruction", "edit_class", "removed", "added"),
    [
        ("remove the red car on the left", REMOVAL, "red car", ""),
        ("Please get rid of the wires", REMOVAL, "wires", ""),
        ("please take away the man in the black shirt", REMOVAL, "man", ""),
        ("take the cup off the table", REMOVAL, "cup", ""),
        ("Can someone photoshop out the people behind us?", REMOVAL, "people", ""),
        ("add a hat to the dog", ADDITION, "", "hat"),
        ("put an umbrella on the bench", ADDITION, "", "umbrella"),
        ("give her a red hat", ADDITION, "", "red hat"),
        ("Let there be a boat on the water", ADDITION, "", "boat"),
        ("insert two birds in the sky", ADDITION, "", "two birds"),
        ("replace the cup with a vase", REPLACEMENT, "cup", "vase"),
        ("Turn the dog into a cat", REPLACEMENT, "dog", "cat"),
        ("change the horse to a zebra", REPLACEMENT, "horse", "zebra"),
        ("put a lion in place of the horse", REPLACEMENT, "horse", "lion"),
        ("swap out the bike for a scooter", REPLACEMENT, "bike", "scooter"),
    ],
)
def test_verbs_say_what_is_asked(instruction: str, edit_class: str, removed: str, added: str) -> None:
    found = rule_edit(instruction)
    assert (found.edit_class, found.removed, found.added) == (edit_class, removed, added)
    assert edit_class in found.why and edit_class in EDIT_CLASSES
    assert rule_edit(instruction, edit_class).edit_class == edit_class
    other = EDIT_CLASSES[EDIT_CLASSES.index(edit_class) - 1]
    refused = rule_edit(instruction, other)
    assert refused.edit_class is None and f"the dataset says {other}" in refused.why


@pytest.mark.parametrize(
    ("instruction", "why"),
    [
        ("make it sunny", "no verb of replacing, removing or adding"),
        ("Remove the dog and add a cat", "several edits in one instruction: object_removal, object_addition"),
        ("change the color of the car to red", "changes a property ('color of the car'), not an object"),
        ("word " * 70 + "remove the dog", "several edits in one instruction"),
        ("", "no verb"),
    ],
)
def test_what_the_rule_leaves_open_has_its_reason(instruction: str, why: str) -> None:
    found = rule_edit(instruction)
    assert found.edit_class is None and why in found.why


def test_a_dataset_that_says_what_the_words_do_not() -> None:
    found = rule_edit("no more dog", REMOVAL)
    assert found.edit_class == REMOVAL and "the dataset says object_removal" in found.why
    assert rule_edit("no more dog", "free_form").edit_class is None


@pytest.mark.parametrize(
    ("caption", "instruction", "expected"),
    [
        ("a photo of a dog, a cup and a red car", "remove the red car", "a photo of a dog, a cup"),
        ("a photo of a dog and a bench", "remove the dog", "a photo of a bench"),
        ("a photo of a dog", "erase the dog", "a photo"),
        ("two dogs on a lawn", "remove the cat", "two dogs on a lawn without the cat"),
        ("a photo of a table", "add an apple", "a photo of a table and an apple"),
        ("a photo of a table", "add some flowers", "a photo of a table and flowers"),
        ("a dog on a lawn", "replace the dog with a fox", "a fox on a lawn"),
        ("a lawn", "replace the dog with a fox", "a lawn, with a fox"),
        ("a lawn", "make it snow", "a lawn, make it snow"),
        (
            "a photo of a small ball and a purple shirt person",
            "remove the white ball",
            "a photo of a purple shirt person",
        ),
        ("a large heart", "turn the yellow heart into a yellow umbrella", "a yellow umbrella"),
        ("a red ball and a white ball", "remove the white ball", "a red ball"),
        ("a dog with a ball", "remove the big dog", "a ball"),
        ("white ball on grass", "remove the small white ball", "grass"),
    ],
)
def test_captions_after_an_edit(caption: str, instruction: str, expected: str) -> None:
    assert RuleCaptionEditor().edit_captions([caption], [instruction]) == [expected]
