"""Choices become pairs: the build that stage 3 trains on (paper section 3.3, "instruction-tuning dataset").

A variant that at least ``min_votes`` choosers took is the target of a pair with its item's source and instruction. The
pairs are a build like any other, so a mix of them respects splits, barred images and withdrawals as every mix does:

    choose(workspace, "demo-alignment", "demo-chosen", judges="people")
    python -m catalog mix --build demo-chosen --policy infra/policies/everything.toml --plan infra/mixes/alignment.toml

What people chose and what a program chose are never mixed: one call takes the one or the other, and every row says who.
The choices themselves are frozen as shards of table ``picks``, inputs of the pairs, and the build is made anew, beside
the old shards, when somebody chooses more.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import pyarrow as pa

from catalog.alignment_sets import AlignmentSet, Item, Variant
from catalog.choices import Choice, read_choices
from catalog.digests import canonical_json, value_digest
from catalog.errors import ConfigError, RowRejected, ShardError
from catalog.images import decode_image, encode_png, resize_image
from catalog.manifests import Manifest, check_build_name, list_manifests, read_manifest, write_manifest
from catalog.model_tables import PICKS
from catalog.people import check_person
from catalog.queries import fetch_rows, open_database, open_table
from catalog.roots import record_root
from catalog.schema import PAIRS
from catalog.store import STORE_ROOT, Shard, ShardWriter, read_shard, shard_key, write_shard
from catalog.workspace import Workspace

Judges = Literal["people", "simulated"]
_VERSION = 1
_COPIED = ("group_id", "dataset", "split", "licence", "edit_type", "region_id", "source_caption", "target_caption")


@dataclass(frozen=True, kw_only=True)
class ChosenPairs:
    """What a set's choices came to."""

    build: str
    manifest: Manifest
    people: tuple[str, ...]
    num_items: int
    """Of the set."""
    num_answered: int
    """By somebody."""
    num_none: int
    """Answered by somebody, and nothing was taken by enough of them."""
    num_pairs: int
    """Usable ones."""


def choose(
    workspace: Workspace,
    alignment_set: str,
    build: str,
    *,
    judges: Judges = "people",
    min_votes: int = 1,
    people: Sequence[str] | None = None,
) -> ChosenPairs:
    """Make the build of a set's chosen variants, or bring it up to date.

    Args:
        workspace: where the set is.
        alignment_set: its name.
        build: name of the build that is written.
        judges: whose choices count: those of people, or those of simulated judges.
        min_votes: choosers that must have taken a variant, 1 or more (the paper does not say: 1).
        people: names whose choices count alone; None: everybody's of that kind.

    Raises:
        ConfigError: nobody of that kind has chosen, or ``min_votes`` is out of range.
        ShardError: no such set, a torn shard or choice, or ``build`` names something else.
    """
    if judges not in get_args(Judges) or min_votes < 1:
        raise ConfigError(f"judges must be people or simulated, min_votes 1 or more. Got {judges!r} and {min_votes}")
    _check_free(workspace, build, alignment_set)
    alignment = AlignmentSet.read(workspace, alignment_set)
    choices = choices_of(alignment, judges, people)
    if not choices:
        remedy = "open the page Choose (`make dashboard`)" if judges == "people" else "run the simulated judge"
        named = "" if people is None else f" named {', '.join(people)}"
        raise ConfigError(
            f"no choice of {judges}{named} is on record for alignment set {alignment_set!r}: {remedy} first"
        )
    workspace.data.mkdir(parents=True, exist_ok=True)
    record_root(workspace, STORE_ROOT, workspace.data)
    maker = _Maker(alignment, choices, min_votes)
    tables: dict[str, list[Shard]] = {"variants": alignment.manifest.tables["variants"], "picks": [], "pairs": []}
    for shard in tables["variants"]:
        picks, pairs = maker.make(shard)
        tables["picks"].append(picks)
        tables["pairs"].append(pairs)
    parameters: dict[str, Any] = {"step": "choose", "set": alignment_set, "judges": judges, "min_votes": min_votes}
    if people is not None:
        parameters["people"] = sorted(people)
    manifest = Manifest(name=build, parameters=parameters, tables=tables)
    write_manifest(workspace, manifest)
    return maker.summary(manifest)


def choices_of(alignment: AlignmentSet, judges: Judges, people: Sequence[str] | None = None) -> list[Choice]:
    """The choices that count, of people or of programs, of some names alone. Raises as `choices.read_choices`."""
    found = [one for one in read_choices(alignment) if (one.judge is None) == (judges == "people")]
    names = None if people is None else {check_person(name) for name in people}
    return found if names is None else [one for one in found if one.person in names]


class _Maker:
    """Makes the two shards that belong to a shard of variants."""

    def __init__(self, alignment: AlignmentSet, choices: Sequence[Choice], min_votes: int) -> None:
        self._alignment, self._min_votes = alignment, min_votes
        self._by_item: dict[str, list[Choice]] = {}
        for one in choices:
            self._by_item.setdefault(one.item_id, []).append(one)
        self._backends = _recorded_backends(alignment)

    def votes(self, item_id: str) -> Counter[int] | None:
        """How many took each variant; None where nobody answered."""
        answers = self._by_item.get(item_id)
        return None if answers is None else Counter(number for one in answers for number in one.variants)

    def make(self, variants: Shard) -> tuple[Shard, Shard]:
        """The choices about a shard's items, and the pairs that they come to."""
        workspace = self._alignment.workspace
        ids = read_shard(variants.file(workspace), ["item_id"]).column("item_id").to_pylist()
        items = [self._alignment.items[item_id] for item_id in dict.fromkeys(ids) if item_id in self._alignment.items]
        rows = [_pick(one) for item in items for one in self._by_item.get(item.item_id, [])]
        table = pa.Table.from_pylist(rows, schema=PICKS)
        key = shard_key("freeze_picks", {"rows": value_digest(rows)}, [], [variants.sha256])
        footer: dict[str, Any] = {"step": "freeze_picks", "inputs": [variants.sha256]}
        picks = write_shard(workspace, "picks", key, lambda writer: table, footer)
        parameters = {"version": _VERSION, "min_votes": self._min_votes, "backends": self._of(items)}
        inputs = [variants.sha256, picks.sha256]
        footer = {"step": "choose", "parameters": {"min_votes": self._min_votes}, "inputs": inputs}
        key = shard_key("choose", parameters, [], inputs)
        return picks, write_shard(workspace, "pairs", key, lambda writer: self._pairs(items, writer), footer)

    def summary(self, manifest: Manifest) -> ChosenPairs:
        """What the build came to."""
        votes = [self.votes(item_id) for item_id in self._alignment.items]
        answered = [found for found in votes if found is not None]
        return ChosenPairs(
            build=manifest.name,
            manifest=manifest,
            people=tuple(sorted({one.person for answers in self._by_item.values() for one in answers})),
            num_items=len(votes),
            num_answered=len(answered),
            num_none=sum(max(found.values(), default=0) < self._min_votes for found in answered),
            num_pairs=sum(shard.num_usable for shard in manifest.tables["pairs"]),
        )

    def _of(self, items: Sequence[Item]) -> list[list[str]]:
        return [self._backends.get(item.item_id, []) for item in items]

    def _pairs(self, items: Sequence[Item], writer: ShardWriter) -> Iterator[dict[str, Any]]:
        for item in items:
            votes = self.votes(item.item_id) or Counter()
            for variant in item.variants:
                if votes[variant.number] >= self._min_votes:
                    yield self._pair(item, variant, writer)

    def _pair(self, item: Item, variant: Variant, writer: ShardWriter) -> dict[str, Any]:
        took = [one for one in self._by_item[item.item_id] if variant.number in one.variants]
        judges = sorted({f"judge={one.judge}" for one in took if one.judge is not None})
        settings = ("text_guidance", "image_guidance", "guidance", "num_steps", "sampler", "seed")
        parameters = {
            "step": "choose",
            "set": self._alignment.name,
            "item_id": item.item_id,
            "variant": variant.number,
            **{name: getattr(variant, name) for name in settings},
            "chosen_by": [{"person": one.person, "judge": one.judge} for one in took],
            "num_answers": len(self._by_item[item.item_id]),
        }
        row: dict[str, Any] = dict.fromkeys(PAIRS.names)
        row |= {name: item.row[name] for name in _COPIED}
        row |= {
            "pair_id": f"{self._alignment.name}/{item.item_id}/variant-{variant.number:02d}",
            "vision_task": "image_editing",
            "source_image": item.source_image,
            "instruction": item.instruction,
            # The item's own helper models, too: who withdraws one of them withdraws what came of it.
            "backends": sorted({*variant.backends, *judges, *self._backends.get(item.item_id, [])}),
            "parameters": canonical_json(parameters),
        }
        try:
            row["target_image"] = self._target(item, variant, row["pair_id"], writer)
        except RowRejected as rejected:
            row |= {"reason": rejected.reason.value, "detail": rejected.detail}
        return row

    def _target(self, item: Item, variant: Variant, name: str, writer: ShardWriter) -> Mapping[str, Any]:
        """The variant at its source's size, as every edit pair has it; as it lies where that is its size already."""
        width, height = item.source_image["width"], item.source_image["height"]
        if (variant.image["width"], variant.image["height"]) == (width, height):
            return variant.image
        picture = resize_image(decode_image(self._alignment.read_image(variant.image)), width, height)
        return writer.add_image(f"{value_digest(name)[:32]}.png", encode_png(picture), width, height)


def _pick(choice: Choice) -> dict[str, Any]:
    """A row of table ``picks``: when somebody chose stays outside, so that the same choices are the same bytes."""
    names = ("set", "item_id", "person", "judge", "shown")
    return {**{name: getattr(choice, name) for name in names}, "variants": list(choice.variants)}


def _recorded_backends(alignment: AlignmentSet) -> dict[str, list[str]]:
    """The helper models behind the rows that items were taken from, as the builds of the set's mix have them.

    Builds that lie elsewhere (the mix was copied here) are passed over; a set that names none is of any of those here.
    """
    workspace = alignment.workspace
    concerned = alignment.manifest.parameters.get("builds")
    names = [name for name in list_manifests(workspace) if concerned is None or name in concerned]
    builds = [read_manifest(workspace, name) for name in names]
    paths = dict.fromkeys(path for one in builds for path in one.paths(workspace, "pairs"))
    with open_database() as connection:
        open_table(connection, "pairs", list(paths), PAIRS)
        connection.register("items", pa.table({"pair_id": pa.array(list(alignment.items), pa.string())}))
        rows = fetch_rows(connection, "SELECT pair_id, backends FROM pairs SEMI JOIN items USING (pair_id)")
    found: dict[str, set[str]] = {}
    for row in rows:
        found.setdefault(row["pair_id"], set()).update(row["backends"] or [])
    return {pair_id: sorted(backends) for pair_id, backends in found.items()}


def _check_free(workspace: Workspace, build: str, alignment_set: str) -> None:
    """Refuse a name that something else bears, or what was chosen of another set. Raises ShardError."""
    check_build_name(build)
    if build not in list_manifests(workspace):
        return
    manifest = read_manifest(workspace, build)
    if manifest.parameters.get("step") != "choose" or manifest.parameters.get("set") != alignment_set:
        raise ShardError(f"{build!r} is not the name of pairs chosen of {alignment_set!r}: take another")
