"""Alignment sets: what people are shown so that they choose (paper section 3.3, "Human alignment").

An item is a source image and an instruction; its variants are what one checkpoint made of them under different
classifier-free guidance (the paper: 20). A set is a manifest with shards of table ``variants``. People see the
variants of an item without their settings and in an order that differs from person to person (`blind_order`).

What they choose is kept by `catalog.choices`, how far they agree is worked out by `catalog.agreement`, and
`catalog.chosen_pairs` makes training pairs of it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from catalog.digests import value_digest
from catalog.errors import ConfigError, ShardError
from catalog.manifests import Manifest, list_manifests, read_manifest
from catalog.people import check_person
from catalog.roots import Roots, read_image_bytes
from catalog.store import STORE_ROOT, read_rows
from catalog.workspace import Workspace

MAX_PICKS = 2
"""Variants of one item that a person may choose; fewer and none are answers, too (paper section 3.3: 0-2)."""

Image = Mapping[str, Any]
"""A value of `columns.IMAGE`."""


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One picture that a checkpoint made of an item."""

    number: int
    """Place in the grid of guidance settings, from 0: its name within the item."""
    image: Image
    """A square of the sampled size; shown with the source's aspect ratio."""
    text_guidance: float
    image_guidance: float
    guidance: str
    num_steps: int
    sampler: str
    seed: int
    backends: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Item:
    """One source image and instruction, and the pictures to choose from."""

    item_id: str
    """pair_id of the row that it was taken from."""
    source_image: Image
    instruction: str
    source_caption: str | None
    target_caption: str | None
    variants: tuple[Variant, ...]
    """Those that could be made, by number."""
    row: Mapping[str, Any]
    """The columns of `model_tables.VARIANTS` that all variants share."""

    @property
    def shown_digest(self) -> str:
        """Digest of the pictures that are shown, by number: choices name it, so that they never speak of others."""
        return value_digest([[one.number, one.image["sha256"]] for one in self.variants])[:32]

    def variant(self, number: int) -> Variant:
        """The variant of that number.

        Raises:
            ConfigError: there is none.
        """
        for one in self.variants:
            if one.number == number:
                return one
        known = ", ".join(str(one.number) for one in self.variants)
        raise ConfigError(f"item {self.item_id!r} has the variants {known}. Got {number!r}: choose among them")


@dataclass(frozen=True, kw_only=True)
class AlignmentSet:
    """The items of one set that can be shown, in the set's order."""

    workspace: Workspace
    name: str
    manifest: Manifest
    items: Mapping[str, Item]
    """By item_id. An item of which no variant could be made is not among them."""
    num_failed: int
    """Variants that could not be made."""

    @classmethod
    def read(cls, workspace: Workspace, name: str) -> "AlignmentSet":
        """Read a set.

        Raises:
            ShardError: no such set, another kind of manifest, or a torn shard.
        """
        if name not in list_manifests(workspace):
            known = ", ".join(list_alignment_sets(workspace)) or "none yet"
            raise ShardError(f"no alignment set named {name!r}: there are {known}; flow `align` makes one")
        manifest = read_manifest(workspace, name)
        if "variants" not in manifest.tables or "pairs" in manifest.tables:
            raise ShardError(f"{name!r} is no alignment set: make one with flow `align`, or name another")
        rows = [row for path in manifest.paths(workspace, "variants") for row in read_rows(path)]
        made = [row for row in rows if row["reason"] is None]
        by_item: dict[str, list[dict[str, Any]]] = {}
        for row in made:
            by_item.setdefault(row["item_id"], []).append(row)
        return cls(
            workspace=workspace,
            name=name,
            manifest=manifest,
            items={item_id: _item(members) for item_id, members in by_item.items()},
            num_failed=len(rows) - len(made),
        )

    def item(self, item_id: str) -> Item:
        """The item of that id.

        Raises:
            ConfigError: there is none.
        """
        if item_id not in self.items:
            raise ConfigError(f"alignment set {self.name!r} has no item {item_id!r:.100}: take one of its own")
        return self.items[item_id]

    def blind_order(self, person: str, item_id: str) -> tuple[Variant, ...]:
        """An item's variants in the order that a person sees them in: the same at every visit.

        Ordered by a digest of set, person, item and number, so that a place on the page says nothing about the
        settings, and differs between people: whoever prefers a place spoils no setting.
        """
        item, name = self.item(item_id), check_person(person)
        return tuple(sorted(item.variants, key=lambda one: value_digest([self.name, name, item_id, one.number])))

    def read_image(self, image: Image) -> bytes:
        """The encoded bytes of a source image or variant, checked against their digest.

        Raises:
            RowRejected: the file is gone or has changed.
            ShardError: the image's root is not known on this machine.
        """
        return read_image_bytes(self._roots, image)

    @cached_property
    def _roots(self) -> Roots:
        path = self.workspace.roots_path
        known = Roots.read(path).folders if path.exists() else {}
        return Roots({STORE_ROOT: self.workspace.data, **known})


def list_alignment_sets(workspace: Workspace) -> list[str]:
    """Names of all alignment sets, sorted. Manifests that cannot be read are none."""
    found = []
    for name in list_manifests(workspace):
        try:
            tables = read_manifest(workspace, name).tables
        except ShardError:  # of another version, or damaged: whoever names it is told so
            continue
        if "variants" in tables and "pairs" not in tables:
            found.append(name)
    return found


_OF_VARIANT = {"variant", "target_image", "text_guidance", "image_guidance", "seed", "reason", "detail"}


def _item(rows: Sequence[Mapping[str, Any]]) -> Item:
    first = rows[0]
    variants = sorted((_variant(row) for row in rows), key=lambda one: one.number)
    if len({one.number for one in variants}) < len(variants):
        raise ShardError(f"a variant's number must be unique in item {first['item_id']!r}: sample the set again")
    return Item(
        item_id=first["item_id"],
        source_image=first["source_image"],
        instruction=first["instruction"],
        source_caption=first["source_caption"],
        target_caption=first["target_caption"],
        variants=tuple(variants),
        row={name: value for name, value in first.items() if name not in _OF_VARIANT},
    )


def _variant(row: Mapping[str, Any]) -> Variant:
    names = ("text_guidance", "image_guidance", "guidance", "num_steps", "sampler", "seed")
    return Variant(
        number=row["variant"],
        image=row["target_image"],
        backends=tuple(row["backends"]),
        **{name: row[name] for name in names},
    )
