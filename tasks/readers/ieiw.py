"""IEIW from a build of this project: the accepted pairs of another workspace, or of another build, as a source.

Layout: the folder of a workspace, as builds leave it::

    <root>/catalog/manifests/<build>.json   <root>/catalog/tables/...   <root>/catalog/roots.json   <root>/data/...

Pairs of a build can be mixed without this reader (``python -m catalog mix --build``); it is for a workspace that came
from elsewhere. Pictures in that workspace's own tars are referenced there; photos of its source datasets are found
through its roots.json and copied, since they lie outside the folder. What was decided there stays decided.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from catalog.decisions import decision_name
from catalog.errors import RowRejected, ShardError, SourceError
from catalog.manifests import list_manifests, read_manifest
from catalog.reasons import Reason
from catalog.roots import Roots, read_image_bytes
from catalog.store import STORE_ROOT, read_rows
from catalog.workspace import Workspace
from tasks.readers.layouts import require_folder
from tasks.readers.locations import Location, locate_packed, stretch_name
from tasks.readers.reader_options import complete_options, require_text
from tasks.readers.records import FileReader, SourcePair, SourceRegion

_COLUMNS = (
    *("pair_id", "vision_task", "edit_type", "group_id", "split", "licence", "source_image", "target_image"),
    *("edit_mask", "phrase", "label", "instruction", "source_caption", "target_caption", "reason"),
)


@dataclass
class IeiwReader(FileReader):
    """The accepted pairs of a build.

    Options: ``build`` (name of the build; default build-ieiw), ``policy`` (name of the policy whose verdicts count;
    default: the only one that was decided).
    """

    name: str = "ieiw"
    revision: str = field(default="1", init=False)
    kind: ClassVar[str] = "ieiw"

    def __post_init__(self) -> None:
        self.options = complete_options(self.kind, self.options, {"build": "build-ieiw", "policy": None})
        require_text(self.kind, "build", self.options["build"])
        require_text(self.kind, "policy", self.options["policy"])

    def read(self) -> Iterator[SourcePair]:
        """Every accepted pair with two stored pictures, in the build's order. Raises SourceError for a wrong folder."""
        root = require_folder(self.kind, self.root, "the folder of a workspace, with catalog/ and data/")
        workspace, build = Workspace(root), str(self.options["build"])
        known = list_manifests(workspace)
        if build not in known:
            raise SourceError(f"Reader ieiw needs a build {build!r} in {root}; it has {', '.join(known) or 'none'}.")
        decision = self._decision(root, build, known)
        try:
            verdicts = read_manifest(workspace, decision).paths(workspace, "verdicts")
            rows = (row for path in verdicts for row in read_rows(path, ["pair_id", "accepted"]))
            accepted = {row["pair_id"] for row in rows if row["accepted"]}
            pairs = read_manifest(workspace, build).paths(workspace, "pairs")
        except ShardError as error:
            raise SourceError(str(error)) from error
        return self._stream(pairs, accepted)

    def _decision(self, root: Path, build: str, known: list[str]) -> str:
        prefix = decision_name(build, "")
        policies = sorted(name.removeprefix(prefix) for name in known if name.startswith(prefix))
        wanted = self.options["policy"] or (policies[0] if len(policies) == 1 else None)
        if wanted not in policies:
            raise SourceError(
                f"Reader ieiw needs the verdicts of one policy on build {build!r} in {root}; it has those of "
                f"{', '.join(policies) or 'none'}; set the option policy, or run python -m catalog decide there."
            )
        return decision_name(build, str(wanted))

    def _stream(self, paths: list[Path], accepted: set[str]) -> Iterator[SourcePair]:
        for path in paths:
            for row in read_rows(path, list(_COLUMNS)):
                if row["pair_id"] in accepted and row["reason"] is None and row["target_image"] is not None:
                    yield _pair(row)

    def locate(self, file: str) -> Location:
        """In one of the workspace's tars; or, by digest, in a folder that its roots.json names."""
        return Location(file, is_plain=False) if file.startswith("@") else locate_packed(file)

    def fetch(self, file: str) -> bytes:
        """A photo of a source dataset of that workspace."""
        assert self.root is not None
        root, _, place = file.removeprefix("@").partition("/")
        location = locate_packed(place)
        digest = place.rpartition("/")[2]
        image = {"root": root, "path": location.path, "offset": location.offset, "length": location.length}
        try:
            return read_image_bytes(Roots.read(Workspace(self.root).roots_path), image | {"sha256": digest})
        except ShardError as error:
            raise RowRejected(Reason.MISSING_FILE, str(error)) from error


def _file(image: Mapping[str, Any]) -> str:
    """The name of a picture: its place in a tar of the workspace; "@root/..." where it lies outside."""
    if image["root"] == STORE_ROOT:
        return stretch_name(f"data/{image['path']}", image["offset"], image["length"], image["sha256"])
    return f"@{image['root']}/" + stretch_name(image["path"], image["offset"], image["length"], image["sha256"])


def _pair(row: Mapping[str, Any]) -> SourcePair:
    source, target = row["source_image"], row["target_image"]
    original = next((image for image in (source, target) if image["sha256"] == row["group_id"]), source)
    mask = row["edit_mask"]
    region = None
    if mask is not None:
        code = {"size": [mask["height"], mask["width"]], "counts": mask["counts"]}
        region = SourceRegion(annotation_id=row["pair_id"], phrase=row["phrase"], label=row["label"], mask=code)
    return SourcePair(
        source_id=row["pair_id"],
        file=_file(source),
        target_file=_file(target),
        vision_task=row["vision_task"],
        edit_type=row["edit_type"],
        instruction=row["instruction"],
        split=row["split"],
        licence=row["licence"],
        source_caption=row["source_caption"],
        target_caption=row["target_caption"],
        region=region,
        group=_file(original) if original is not source else None,
    )
