"""Replay: make one pair again, step by step from the recorded rows, and compare every value and every byte.

Each step that led to the pair runs anew on the rows that it was given then, so a difference is named where it arises
and not in all that follows. Nothing is written: what is made lives in a temporary folder.
"""

import json
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from catalog.digests import value_digest
from catalog.errors import ShardError, UserError
from catalog.lineage import Lineage, Place, Row
from catalog.roots import Roots
from catalog.schema import TABLES
from catalog.store import STORE_ROOT, Shard, ShardWriter, read_rows
from catalog.workspace import Workspace
from tasks.backends.registry import backend_id
from tasks.profiles import Profile
from tasks.replay_comparison import Difference, StepReplay, compare_rows, mapping_differences
from tasks.replay_requests import replay_match
from tasks.step_calls import find_function, find_source, load_role, step_parameters
from tasks.steps import STEPS, StepContext

_IDENTITY = ("region_id", "edit_type", "vision_task", "pair_id")
"""Columns, of those that a table has, that tell its rows apart where ids depend on what is compared."""
_IDENTITY_OF = {"pairs": _IDENTITY[:3], "scores": _IDENTITY[3:]}


@dataclass(kw_only=True)
class Replay:
    """What making a pair again came to."""

    pair_id: str
    build: str
    steps: list[StepReplay]

    @property
    def is_identical(self) -> bool:
        """Whether every value and byte came out as recorded, by the same backends."""
        return not any(step.differences for step in self.steps)

    def as_dict(self) -> dict[str, Any]:
        """The fields as JSON values."""
        return {**asdict(self), "is_identical": self.is_identical}


@dataclass(frozen=True, kw_only=True)
class _Link:
    """One recorded step on the way to a pair."""

    step: str
    output: Place
    input: Shard
    rows: list[Row]
    """Of the input, all that the output depends on."""
    extra: dict[str, Shard]


class Replayer:
    """Makes pairs of one build again.

    Args:
        lineage: the build.
        profile: its profile; each source with the folder that its reader needs here.
        roots: where images are here.
    """

    def __init__(self, lineage: Lineage, profile: Profile, roots: Roots) -> None:
        self._lineage, self._profile, self._roots = lineage, profile, roots

    def replay(self, pair_id: str) -> Replay:
        """Make every step of a pair again, from its source's record to its scores.

        Raises:
            ShardError: the build lacks a recorded shard or row.
        """
        pair = self._lineage.find("pairs", "pair_id", pair_id)
        if pair is None:
            raise ShardError(f"build {self._lineage.manifest.name!r} has no pair {pair_id!r}: name another build")
        matched = replay_match(self._lineage, self._profile, self._roots, pair.row)
        links = list(self._links(pair, set()))
        scored = self._lineage.find("scores", "pair_id", pair_id)
        if scored is not None:
            links.append(self._link(scored))
        steps = [*filter(None, [matched]), *(self._run(link) for link in links)]
        return Replay(pair_id=pair_id, build=self._lineage.manifest.name, steps=steps)

    def _links(self, place: Place, seen: set[tuple[str, int]]) -> Iterator[_Link]:
        """The steps behind a row, each after those that it builds on."""
        if (place.shard.key, place.index) in seen:
            return
        seen.add((place.shard.key, place.index))
        link = self._link(place)
        for parent in self._parents(link):
            yield from self._links(parent, seen)
        yield link

    def _link(self, place: Place) -> _Link:
        name = self._lineage.footer(place.shard)["step"]
        if name not in STEPS:
            raise ShardError(f"{place.shard.path} was made by step {name!r}, which this version does not have")
        step = STEPS[name]
        source = self._lineage.input_of(place.shard, step.reads)
        rows = self._select(step.reads, source, place)
        if not rows:
            raise ShardError(f"{source.path} must hold the row that {place.shard.path} was made from: build again")
        extra = {table: self._lineage.input_of(place.shard, table) for table in step.extra}
        return _Link(step=name, output=place, input=source, rows=rows, extra=extra)

    def _select(self, table: str, source: Shard, output: Place) -> list[Row]:
        rows, row = list(read_rows(source.file(self._lineage.workspace))), output.row
        if table == "listings":
            kind = "image" if output.shard.table == "regions" else "pair"
            wanted = row["source_id"] if kind == "image" else row["region_id"].removeprefix(f"{row['dataset']}/")
            return [one for one in rows if (one["kind"], one["source_id"]) == (kind, wanted)]
        if table == "edits":
            ids = self._lineage.footer(output.shard)["backends"]
            names = [(one, word) for one in rows for word in ("pair", "reversed")]
            found = (one for one, word in names if value_digest([word, one["edit_id"], ids])[:32] == row["pair_id"])
            return list(found)[:1]
        if table == "patches" and output.shard.table == "edits":
            return _photo_around(rows, row["region_id"])
        column = "pair_id" if table == "pairs" else "region_id"
        return [one for one in rows if one[column] == row[column]]

    def _parents(self, link: _Link) -> Iterator[Place]:
        """The rows whose making belongs to the story of a row."""
        table, row = link.input.table, link.output.row
        if table == "listings":
            return
        if table == "patches":
            yield self._found("patches", link.input, row["region_id"])
            if row["donor"] is not None:
                donor = self._lineage.find("patches", "region_id", row["donor"]["region_id"])
                if donor is None:
                    raise ShardError(f"the build lists no patch {row['donor']['region_id']!r}, which a pair took")
                yield donor
            return
        column = "edit_id" if table == "edits" else "region_id"
        place = self._lineage.find_in(link.input, column, link.rows[0][column])
        assert place is not None, "the row was read from this shard"
        yield place

    def _found(self, table: str, shard: Shard, region_id: str) -> Place:
        place = self._lineage.find_in(shard, "region_id", region_id)
        assert place is not None and place.shard.table == table
        return place

    def _run(self, link: _Link) -> StepReplay:
        output = link.output
        done = StepReplay(step=link.step, table=output.shard.table, row=output.row.get("region_id") or "")
        done.row = output.row.get("pair_id") or done.row
        for shard in (output.shard, link.input, *link.extra.values()):
            if not self._lineage.is_unchanged(shard):
                done.differences.append(
                    Difference(what="shard", recorded=shard.sha256, now="other bytes", note=f"{shard.path} has changed")
                )
        try:
            self._compare(link, done)
        except (UserError, OSError, ImportError) as error:
            done.differences.append(
                Difference(what="step", recorded="ran", now="cannot run", note=str(error).partition("\n")[0])
            )
        return done

    def _compare(self, link: _Link, done: StepReplay) -> None:
        footer, step = self._lineage.footer(link.output.shard), STEPS[link.step]
        source = None
        if step.reads == "listings":
            source = find_source(self._lineage.workspace, self._profile, link.input)
        backends = {role: load_role(self._profile, role) for role in step.roles}
        now = {role: backend_id(role, backend) for role, backend in backends.items()}
        done.differences += mapping_differences("backend", _by_role(footer["backends"]), now)
        parameters = json.loads(json.dumps(step_parameters(step, self._profile, source)))
        done.differences += mapping_differences("parameter", footer["parameters"], parameters)
        with ExitStack() as stack:
            scratch = Workspace(Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ieiw-replay-"))))
            writer = stack.enter_context(closing(ShardWriter(scratch, link.output.shard.table, "replay")))
            context = StepContext(
                workspace=self._lineage.workspace,
                profile=self._profile,
                source=source,
                inputs=(link.input.file(self._lineage.workspace),),
                rows=iter(link.rows),
                roots=self._roots,
                backends=backends,
                # As recorded, so that ids come out alike and a difference is one of content.
                backend_ids=tuple(footer["backends"]),
                extra={table: shard.file(self._lineage.workspace) for table, shard in link.extra.items()},
            )
            made = find_function(step)(context, writer)
            rows = made if isinstance(made, pa.Table) else pa.Table.from_pylist(list(made), TABLES[done.table])
            writer.finish()
            row = _matching(done.table, rows.to_pylist(), link.output.row)
            compare_rows(done, link.output.row, row, self._roots, Roots({STORE_ROOT: scratch.data}))


def with_roots(profile: Profile, roots: Roots) -> Profile:
    """The profile with each source's folder as the roots of this machine have it."""
    sources = tuple(
        replace(source, root=str(roots.folders.get(source.dataset, source.root))) for source in profile.sources
    )
    return replace(profile, sources=sources)


def _photo_around(rows: Sequence[Row], region_id: str) -> list[Row]:
    """The run of patches of one photo that a region is in: the step chooses among them."""
    place = next((index for index, row in enumerate(rows) if row["region_id"] == region_id), None)
    if place is None:
        return []
    first, last, group = place, place + 1, rows[place]["group_id"]
    while first > 0 and rows[first - 1]["group_id"] == group:
        first -= 1
    while last < len(rows) and rows[last]["group_id"] == group:
        last += 1
    return list(rows[first:last])


def _matching(table: str, rows: Sequence[Row], wanted: Row) -> Row | None:
    names = _IDENTITY_OF.get(table) or [name for name in _IDENTITY if name in TABLES[table].names]
    return next((row for row in rows if all(row[name] == wanted[name] for name in names)), None)


def _by_role(ids: Sequence[str]) -> dict[str, str]:
    return {one.partition("=")[0]: one for one in ids}
