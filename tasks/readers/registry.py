"""The readers by name, as a profile's ``[[source]]`` names them."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from catalog.errors import SourceError
from tasks.readers.ade20k import Ade20kReader
from tasks.readers.ade20k_classes import Ade20kFullReader, SceneParseReader
from tasks.readers.aic import AicReader
from tasks.readers.ap10k import Ap10kReader
from tasks.readers.clwd import ClwdReader
from tasks.readers.coco import CocoReader
from tasks.readers.cocostuff import CocoStuffReader
from tasks.readers.crowdpose import CrowdPoseReader
from tasks.readers.edit_pairs import EditPairsReader
from tasks.readers.editing_sets import AnyEditReader, HqEditReader, OmniEditReader, UltraEditReader
from tasks.readers.gier import GierReader
from tasks.readers.gopro import GoProReader
from tasks.readers.gqa_inpaint import GqaInpaintReader
from tasks.readers.humanart import HumanArtReader
from tasks.readers.ieiw import IeiwReader
from tasks.readers.imgedit import ImgEditReader
from tasks.readers.instructpix2pix import InstructPix2PixReader
from tasks.readers.lvis import LvisReader
from tasks.readers.magicbrush import MagicBrushReader
from tasks.readers.mpii import MpiiReader
from tasks.readers.openimages import OpenImagesReader
from tasks.readers.pascal_context import PascalContextReader
from tasks.readers.photo_requests import PhotoRequestsReader
from tasks.readers.phrasecut import PhraseCutReader
from tasks.readers.records import Reader
from tasks.readers.reds import RedsReader
from tasks.readers.refer import GRefCocoReader, RefClefReader, RefCocoGReader, RefCocoPlusReader, RefCocoReader
from tasks.readers.sa1b import Sa1bReader
from tasks.readers.sample import SampleReader
from tasks.readers.sidd import SiddReader
from tasks.readers.synthetic import SyntheticReader
from tasks.readers.voc import VocReader

READERS: dict[str, Callable[..., Reader]] = {
    "ade20k": Ade20kReader,
    "ade20k_150": SceneParseReader,
    "ade20k_847": Ade20kFullReader,
    "aic": AicReader,
    "anyedit": AnyEditReader,
    "ap10k": Ap10kReader,
    "clwd": ClwdReader,
    "coco": CocoReader,
    "cocostuff": CocoStuffReader,
    "crowdpose": CrowdPoseReader,
    "edit_pairs": EditPairsReader,
    "gier": GierReader,
    "gopro": GoProReader,
    "gqa_inpaint": GqaInpaintReader,
    "grefcoco": GRefCocoReader,
    "hq_edit": HqEditReader,
    "humanart": HumanArtReader,
    "ieiw": IeiwReader,
    "imgedit": ImgEditReader,
    "instructpix2pix": InstructPix2PixReader,
    "lvis": LvisReader,
    "magicbrush": MagicBrushReader,
    "mpii": MpiiReader,
    "omniedit": OmniEditReader,
    "openimages": OpenImagesReader,
    "pascal_context": PascalContextReader,
    "photo_requests": PhotoRequestsReader,
    "phrasecut": PhraseCutReader,
    "reds": RedsReader,
    "refclef": RefClefReader,
    "refcoco": RefCocoReader,
    "refcoco+": RefCocoPlusReader,
    "refcocog": RefCocoGReader,
    "sa1b": Sa1bReader,
    "sample": SampleReader,
    "sidd": SiddReader,
    "synthetic": SyntheticReader,
    "ultraedit": UltraEditReader,
    "voc": VocReader,
}


def make_reader(kind: str, dataset: str, root: Path | None, options: Mapping[str, Any]) -> Reader:
    """The reader of one source dataset; ``dataset`` becomes its ``name``.

    Args:
        kind: a name of `READERS`.
        dataset: the ``dataset`` column.
        root: the dataset's folder, None where the reader needs none.
        options: JSON values by name; each reader's docstring lists its own.

    Raises:
        SourceError: an unknown kind, or an option that the reader does not have or take.
    """
    if kind not in READERS:
        raise SourceError(f"A reader is one of {', '.join(sorted(READERS))}; got {kind!r}.")
    return READERS[kind](root=root, options=dict(options), name=dataset)
