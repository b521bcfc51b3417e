"""Published sets of synthetic edits in Parquet: UltraEdit, HQ-Edit, OmniEdit, AnyEdit.

Columns::

    UltraEdit   source_image, edited_image, edit_prompt, source_caption, target_caption, mask_image (region-based)
    HQ-Edit     input_image, output_image, edit, inverse_edit, input, output            (two pairs per row)
    OmniEdit    src_img, edited_img, edited_prompt_list, task
    AnyEdit     image_file, edited_file, edit_instruction, edit_type, input, output

All are read as `edit_pairs` reads any: these readers know the licence, and refuse a folder of another set.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from tasks.readers.edit_pairs import EditPairsReader


@dataclass
class UltraEditReader(EditPairsReader):
    """UltraEdit: four million edits, with a mask where they are region-based.

    Options: as `EditPairsReader`.
    """

    name: str = "ultraedit"
    revision: str = field(default="1", init=False)
    kind: ClassVar[str] = "ultraedit"
    holds: ClassVar[str] = "the folder with UltraEdit's Parquet files"
    licence: ClassVar[str | None] = "UltraEdit: CC BY 4.0"
    columns: ClassVar[Mapping[str, str]] = {"source": "source_image", "instruction": "edit_prompt"}


@dataclass
class HqEditReader(EditPairsReader):
    """HQ-Edit: edits with the instruction of the way back, which makes a pair of its own.

    Options: as `EditPairsReader`.
    """

    name: str = "hq_edit"
    revision: str = field(default="1", init=False)
    kind: ClassVar[str] = "hq_edit"
    holds: ClassVar[str] = "the folder with HQ-Edit's Parquet files"
    licence: ClassVar[str | None] = "HQ-Edit: CC BY-NC 4.0"
    columns: ClassVar[Mapping[str, str]] = {
        "source": "input_image",
        "target": "output_image",
        "instruction": "edit",
        "inverse_instruction": "inverse_edit",
    }


@dataclass
class OmniEditReader(EditPairsReader):
    """OmniEdit (filtered, 1.2 million): seven kinds of edit, each worded short and long.

    Options: as `EditPairsReader`.
    """

    name: str = "omniedit"
    revision: str = field(default="1", init=False)
    kind: ClassVar[str] = "omniedit"
    holds: ClassVar[str] = "the folder with OmniEdit's Parquet files"
    licence: ClassVar[str | None] = "OmniEdit: MIT"
    sources_are_photos: ClassVar[bool] = True
    columns: ClassVar[Mapping[str, str]] = {
        "source": "src_img",
        "target": "edited_img",
        "instruction": "edited_prompt_list",
    }


@dataclass
class AnyEditReader(EditPairsReader):
    """AnyEdit: 25 kinds of edit.

    Options: as `EditPairsReader`.
    """

    name: str = "anyedit"
    revision: str = field(default="1", init=False)
    kind: ClassVar[str] = "anyedit"
    holds: ClassVar[str] = "the folder with AnyEdit's Parquet files"
    licence: ClassVar[str | None] = "AnyEdit: MIT"
    columns: ClassVar[Mapping[str, str]] = {
        "source": "image_file",
        "target": "edited_file",
        "instruction": "edit_instruction",
    }
