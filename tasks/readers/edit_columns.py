"""Which column of an edit dataset is what: by the names that published datasets use, or as an option says."""

import re
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

from catalog.errors import SourceError

ALIASES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "source": (
            *("source_image", "source_img", "src_img", "original_image", "input_image", "input_img", "image_file"),
            *("input_images", "source_image_path", "source", "origin", "input", "image"),
        ),
        "target": (
            *("target_image", "target_img", "edited_image", "edited_img", "output_image", "output_img", "edited_file"),
            *("output_images", "target_image_path", "target", "edited", "output", "edit"),
        ),
        "instruction": (
            *("instruction", "edit_instruction", "edit_prompt", "edited_prompt_list", "prompts", "prompt", "edit"),
            *("caption", "text", "txt"),
        ),
        "mask": ("mask_image", "mask_img", "mask"),
        "inverse_instruction": ("inverse_edit", "inverse_instruction"),
        "source_caption": ("source_caption", "original_prompt", "input_caption", "input"),
        "target_caption": ("target_caption", "edited_prompt", "output_caption", "output"),
        "edit_type": ("edit_type", "task"),
    }
)
"""Role -> column names, the surest first. A column has one role: that of the first one here that claims it."""

REQUIRED = ("source", "target", "instruction")

IMAGES = ("source", "target", "mask")

_EDIT_TYPES = {
    "object_removal": ("remove", "removal", "object_remove", "obj_remove", "delete", "erase"),
    "object_addition": ("add", "addition", "object_add", "obj_add", "insert"),
    "object_replacement": ("replace", "replacement", "swap", "object_swap", "obj_swap", "object_replace"),
}
_KNOWN_TYPES = {word: name for name, words in _EDIT_TYPES.items() for word in (name, *words)}
FREE_FORM = "free_form"
"""``edit_type`` of a pair whose dataset does not say what kind of edit it is."""


def find_columns(names: Iterable[str], given: Mapping[str, str], where: str) -> dict[str, str]:
    """The column of each role.

    Args:
        names: the columns that there are.
        given: role -> column, from the reader's option ``columns``; the other roles by `ALIASES`.
        where: the file, for messages.

    Raises:
        SourceError: a given column is not there, or source, target or instruction is not found.
    """
    there = list(names)
    for role, column in given.items():
        if column not in there:
            raise SourceError(f"Column {column!r} (of {role}) is not in {where}; it has {', '.join(there)}.")
    found, taken = dict(given), set(given.values())
    for role, aliases in ALIASES.items():
        own = next((alias for alias in aliases if alias in there and alias not in taken), None)
        if role not in found and own is not None:
            found[role] = own
            taken.add(own)
    missing = [role for role in REQUIRED if role not in found]
    if missing:
        raise SourceError(
            f"An edit dataset needs columns for source, target and instruction; in {where} none is known as "
            f"{', '.join(missing)}; it has {', '.join(there) or 'none'}; say which with the option columns, such as "
            f'{{"{missing[0]}": "NAME"}}.'
        )
    return found


def check_columns_option(kind: str, value: Any) -> dict[str, str]:
    """The option ``columns``. Raises SourceError unless it is a table of column names by role."""
    if not isinstance(value, dict) or not all(isinstance(column, str) and column for column in value.values()):
        raise SourceError(f"Option columns of reader {kind} must be a table of column names by role; got {value!r}.")
    unknown = sorted(set(value) - set(ALIASES))
    if unknown:
        raise SourceError(f"Option columns of reader {kind} has the roles {', '.join(ALIASES)}; got {unknown[0]!r}.")
    return dict(value)


def name_edit_type(value: Any) -> str:
    """A dataset's own word for a kind of edit as an ``edit_type``: "Remove" -> "object_removal", "Color Alter" ->
    "color_alter"; `FREE_FORM` where there is none.
    """
    if not isinstance(value, str):
        return FREE_FORM
    plain = re.sub(r"[^a-z0-9]+", "_", value.lower()).strip("_")
    return _KNOWN_TYPES.get(plain, plain or FREE_FORM)
