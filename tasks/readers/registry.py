"""The readers by name, as a profile's ``[[source]]`` names them."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from catalog.errors import SourceError
from tasks.readers.ade20k import Ade20kReader
from tasks.readers.coco import CocoReader
from tasks.readers.phrasecut import PhraseCutReader
from tasks.readers.records import Reader
from tasks.readers.sample import SampleReader
from tasks.readers.synthetic import SyntheticReader

READERS: dict[str, Callable[..., Reader]] = {
    "ade20k": Ade20kReader,
    "coco": CocoReader,
    "phrasecut": PhraseCutReader,
    "sample": SampleReader,
    "synthetic": SyntheticReader,
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
