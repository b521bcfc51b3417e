"""InstructPix2Pix (Brooks et al., CVPR 2023): pairs that Prompt-to-Prompt made of two captions.

Layouts::

    clip-filtered-dataset/seeds.json                      [["0000000", ["2377938224", ...]], ...]
    clip-filtered-dataset/shard-00.zip ... shard-29.zip   as they are served; not to be unpacked
    clip-filtered-dataset/0000000/prompt.json             or unpacked: {"input" or "caption", "edit", "output"}
    clip-filtered-dataset/0000000/<seed>_0.jpg            before
    clip-filtered-dataset/0000000/<seed>_1.jpg            after

Pairs are named "<prompt>/<seed>", as in the published list of those that the paper trains on (561,000 of them,
filtered by CLIP and aesthetics): give that file as the option ``ids``. The split is the place of the prompt in
seeds.json: the first 90 % train, the next 5 % validate, the rest test. A prompt of seeds.json in no shard is listed,
and refused as ``missing_file``. (The copy in Parquet is read by `edit_pairs`.)
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from catalog.errors import RowRejected, SourceError
from catalog.reasons import Reason
from catalog.source_files import read_source_file
from tasks.readers.json_records import JsonRecords
from tasks.readers.layouts import find_file, is_inside, require_folder
from tasks.readers.locations import Location, locate_packed, parse_member
from tasks.readers.reader_options import complete_options, require_choice, require_text
from tasks.readers.records import FileReader, SourcePair
from tasks.readers.zip_files import ZipMembers

MAX_PROMPT_BYTES = 1 << 16
_SHARES = ((0.9, "train"), (0.95, "val"), (1.0, "test"))


@dataclass(frozen=True)
class _Prompt:
    """One entry of seeds.json."""

    folder: str
    seeds: tuple[str, ...]
    split: str | None
    """None for a pair that only the list of ids names."""


@dataclass
class InstructPix2PixReader(FileReader):
    """InstructPix2Pix, in zip shards or unpacked.

    Options: ``split`` (train, val or test: only the prompts of that part of seeds.json; default: all, each with its
    own), ``ids`` (JSON list of "<prompt>/<seed>" below the root: only these pairs; default: all).
    """

    name: str = "instructpix2pix"
    revision: str = field(default="1", init=False)
    kind: ClassVar[str] = "instructpix2pix"
    licence: ClassVar[str] = "InstructPix2Pix: none stated (code: MIT)"
    sources_are_photos: ClassVar[bool] = False
    _zip: ZipMembers | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        self.options = complete_options(self.kind, self.options, {"split": None, "ids": None})
        require_text(self.kind, "ids", self.options["ids"])
        if self.options["split"] is not None:
            require_choice(self.kind, "split", self.options["split"], ("train", "val", "test"))

    def read(self) -> Iterator[SourcePair]:
        """Every pair: shard by shard or as seeds.json has them. Raises SourceError for a wrong folder or file."""
        root = require_folder(
            self.kind, self.root, "the folder with seeds.json and shard-*.zip, or its unpacked folders"
        )
        prompts = self._prompts(root)
        shards = sorted(path.name for path in root.glob("*.zip"))
        return self._packed(root, shards, prompts) if shards else self._unpacked(root, prompts)

    def _prompts(self, root: Path) -> dict[str, _Prompt]:
        """The wanted prompts by folder, in order, each with the seeds that are wanted of it."""
        path = find_file(self.kind, root, "its list of seeds", ["seeds.json"])
        entries = [entry for _, entry in JsonRecords(path, "InstructPix2Pix's list of seeds").array()]
        wanted = self._ids(root)
        prompts: dict[str, _Prompt] = {}
        known = set()
        for position, entry in enumerate(entries):
            folder, seeds = _check_entry(entry, path)
            share = (position + 1) / len(entries)
            split = next(name for limit, name in _SHARES if share <= limit + 1e-12)
            if self.options["split"] in (None, split):
                kept = tuple(seed for seed in seeds if wanted is None or f"{folder}/{seed}" in wanted)
                prompts[folder] = _Prompt(folder, kept, split)
            known |= {f"{folder}/{seed}" for seed in seeds} if wanted is not None else set()
        if self.options["split"] is None:
            _add_unknown(prompts, sorted((wanted or frozenset()) - known))
        return prompts

    def _ids(self, root: Path) -> frozenset[str] | None:
        if self.options["ids"] is None:
            return None
        path = find_file(self.kind, root, "its list of pairs (option ids)", [self.options["ids"]])
        ids = [entry for _, entry in JsonRecords(path, "InstructPix2Pix's list of pairs").array()]
        if not all(isinstance(one, str) and one.count("/") == 1 for one in ids):
            raise SourceError(f'{path} must be a list of "<prompt>/<seed>" texts; another entry is in it.')
        return frozenset(ids)

    def _packed(self, root: Path, shards: list[str], prompts: dict[str, _Prompt]) -> Iterator[SourcePair]:
        for shard in shards:
            with ZipMembers(root, shard, "InstructPix2Pix's shard") as members:
                folders = sorted({name.partition("/")[0] for name in members.members if "/" in name})
                for folder in folders:
                    prompt = prompts.pop(folder, None)  # one that seeds.json does not list is not of the dataset
                    if prompt is not None and prompt.seeds:
                        texts = _read_prompt(members, folder)
                        for seed in prompt.seeds:
                            names = [f"{folder}/{seed}_{number}.jpg" for number in (0, 1)]
                            yield self._pair(prompt, seed, [members.image_name(name) for name in names], texts)
        yield from self._unpacked(root, prompts)  # what no shard has: refused by name

    def _unpacked(self, root: Path, prompts: Mapping[str, _Prompt]) -> Iterator[SourcePair]:
        for folder, prompt in prompts.items():
            texts: dict[str, Any] = {}
            if prompt.seeds:
                with suppress(RowRejected):  # the pair has no instruction then, and is refused for its first fault
                    texts = _parse_prompt(read_source_file(root, f"{folder}/prompt.json"))
            for seed in prompt.seeds:
                yield self._pair(prompt, seed, [f"{folder}/{seed}_{number}.jpg" for number in (0, 1)], texts)

    def _pair(self, prompt: _Prompt, seed: str, files: list[str], texts: Mapping[str, Any]) -> SourcePair:
        return SourcePair(
            source_id=f"{prompt.folder}/{seed}",
            file=files[0],
            target_file=files[1],
            vision_task="image_editing",
            edit_type="free_form",
            instruction=texts.get("edit"),
            split=prompt.split,
            licence=self.licence,
            source_caption=texts.get("input", texts.get("caption")),
            target_caption=texts.get("output"),
        )

    def locate(self, file: str) -> Location:
        """A picture of its own, or in a shard."""
        return locate_packed(file)

    def fetch(self, file: str) -> bytes:
        """A picture that its shard holds compressed; the shard stays open for the next."""
        member = parse_member(file)
        if member is None or self.root is None or not is_inside(member[0]):
            raise RowRejected(Reason.MISSING_FILE, f"no picture is called {file!r}")
        if self._zip is None or self._zip.path != member[0]:
            if self._zip is not None:
                self._zip.close()
            try:
                self._zip = ZipMembers(self.root, member[0], "InstructPix2Pix's shard")
            except SourceError as error:
                raise RowRejected(Reason.UNREADABLE_FILE, str(error)) from error
        return self._zip.read(member[1])


def _add_unknown(prompts: dict[str, _Prompt], ids: list[str]) -> None:
    """List pairs that seeds.json lacks, to be refused by name."""
    for one in ids:
        folder, _, seed = one.partition("/")
        listed = prompts.get(folder, _Prompt(folder, (), None))
        prompts[folder] = _Prompt(folder, (*listed.seeds, seed), listed.split)


def _check_entry(entry: Any, path: Path) -> tuple[str, list[str]]:
    """(folder, seeds) of an entry of seeds.json. Raises SourceError."""
    if isinstance(entry, list) and len(entry) == 2 and isinstance(entry[0], str) and isinstance(entry[1], list):
        return entry[0], [str(seed) for seed in entry[1]]
    raise SourceError(f'{path} must be a list of ["<prompt>", ["<seed>", ...]]; got {entry!r:.80}.')


def _read_prompt(members: ZipMembers, folder: str) -> dict[str, Any]:
    try:
        return _parse_prompt(members.read(f"{folder}/prompt.json", MAX_PROMPT_BYTES))
    except RowRejected:
        return {}


def _parse_prompt(data: bytes) -> dict[str, Any]:
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}
