"""The mix: builds, a policy and a mix file give ``mix.parquet``, the sampling plan and the trainer's only input.

A pure function of the accepted pairs, the weights and the seed: draws and order come from numbers that a pair's id
and the seed decide, so threads, machine and shard layout do not matter, and new pairs leave the order of the others
as it was.
A weight of 2.3 means two whole passes and 30 % of the pairs once more (paper section 4.1 and table 1 give
effective sample counts; the official code repeats and thins datasets likewise).
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import duckdb

from catalog.decisions import Decision, decide
from catalog.errors import MixError
from catalog.manifests import Manifest, read_manifest
from catalog.mix_amounts import count_draws
from catalog.mix_draws import draw_pairs
from catalog.mix_inputs import name_some, open_inputs
from catalog.mix_plans import MixPlan, MixSource
from catalog.parquet_streams import Layout, write_stream
from catalog.policies import Policy
from catalog.queries import fetch_rows, load_sql, open_database, run_query, stream_batches
from catalog.roots import share_roots
from catalog.schema import MIX, SPLITS
from catalog.workspace import Workspace

ROW_GROUP = 4096
"""Rows that a reader of the mix decompresses at once."""


@dataclass(frozen=True, kw_only=True)
class SourceCount:
    """What became of one source of the mix. ``available`` is the sum of the other counts but ``drawn``."""

    name: str
    vision_task: str | None
    """That the source's filter names."""
    weight: float
    """Draws of an epoch per training pair: as the mix file has it, or what its amounts come to."""
    available: int
    """Usable pairs that belong to the source."""
    rejected: int
    """By the policy."""
    barred: int
    """Pairs of the train split that show a barred image."""
    train: int
    """Accepted pairs, by split."""
    val: int
    test: int
    drawn: int
    """Training samples, see `mix_amounts.count_draws`."""

    @property
    def accepted(self) -> int:
        """Pairs that the policy accepts, barred ones included."""
        return self.available - self.rejected


@dataclass(frozen=True, kw_only=True)
class MixSummary:
    """What a mix holds."""

    output: Path
    sources: tuple[SourceCount, ...]
    num_unclaimed: int
    """Usable pairs that no source matches."""
    num_train: int
    """Training samples: positions 0 to ``num_train`` - 1."""
    num_val: int
    num_test: int


def build_mix(
    workspace: Workspace,
    builds: Sequence[str],
    policy: Policy,
    plan: MixPlan,
    output: Path,
    threads: int | None = None,
    memory_limit: str | None = None,
) -> MixSummary:
    """Write the mix of some builds to ``output`` (`schema.MIX`), whole or not at all.

    A pair that several builds share counts once, and only if the policy accepts it in each of them.

    Args:
        workspace: where the builds are.
        builds: names of builds; their decisions are made if need be.
        policy: says which pairs are accepted.
        plan: sources, weights, seed.
        output: the Parquet file; replaced if there. Outside the workspace's ``catalog`` folder it gets a
            ``roots.json`` beside it: trainer and evaluation look for images there.
        threads: see `queries.open_database`. Changes no byte.
        memory_limit: likewise.

    Raises:
        MixError: nothing to train on, a source without pairs, one pair_id for two different pairs, a photo that
            cannot be compared with barred ones, or a ``roots.json`` beside ``output`` that contradicts the workspace's.
        ShardError: no such build, or a torn shard.
        PolicyError: a build lacks scores.
    """
    if not builds or len(set(builds)) < len(builds):
        raise MixError(f"a mix needs one or more builds, each named once. Got {', '.join(builds) or 'none'}")
    decisions = [decide(workspace, build, policy, threads) for build in builds]
    with open_database(threads, memory_limit) as connection:
        open_inputs(connection, workspace, decisions, plan)
        summary = _count(connection, plan, output)
        counts = [(source.train, source.drawn) for source in summary.sources]
        draw_pairs(connection, plan.seed, *zip(*counts, strict=True))
        share_roots(workspace, _roots(connection), output.parent)
        batches = stream_batches(connection, load_sql("mix_rows"), ROW_GROUP)
        footer = _footer(workspace, decisions, policy, plan, summary)
        write_stream(output, "mix", MIX, batches, footer, ROW_GROUP, Layout(statistics=("position",)))
    return summary


def _count(connection: duckdb.DuckDBPyConnection, plan: MixPlan, output: Path) -> MixSummary:
    run_query(connection, "mix_members")
    rows = fetch_rows(connection, load_sql("mix_counts"))
    if unknown := sorted({str(row["split"]) for row in rows} - set(SPLITS)):
        raise MixError(f"a pair's split must be one of {', '.join(SPLITS)}. Got {', '.join(unknown)}: build again")
    counts = [
        _count_source(source, [row for row in rows if row["ordinal"] == ordinal])
        for ordinal, source in enumerate(plan.sources)
    ]
    _refuse_unfed(plan, counts)
    draws = count_draws(plan, [count.train for count in counts])
    sources = tuple(_with_draws(plan, *values) for values in zip(plan.sources, counts, draws, strict=True))
    _refuse_empty(plan, sources)
    return MixSummary(
        output=output,
        sources=sources,
        num_unclaimed=sum(row["num_pairs"] for row in rows if row["ordinal"] is None),
        num_train=sum(source.drawn for source in sources),
        num_val=sum(source.val for source in sources),
        num_test=sum(source.test for source in sources),
    )


def _count_source(source: MixSource, rows: list[dict[str, Any]]) -> SourceCount:
    def total(**wanted: str) -> int:
        return sum(row["num_pairs"] for row in rows if wanted.items() <= row.items())

    train = total(split="train", fate="accepted")
    return SourceCount(
        name=source.name,
        vision_task=source.vision_task,
        weight=source.weight,
        available=total(),
        rejected=total(fate="rejected"),
        barred=total(fate="barred"),
        train=train,
        val=total(split="val", fate="accepted"),
        test=total(split="test", fate="accepted"),
        drawn=0,
    )


def _with_draws(plan: MixPlan, source: MixSource, count: SourceCount, drawn: int) -> SourceCount:
    as_written = source.count is None and source.share is None and source.vision_task not in dict(plan.quotas)
    weight = source.weight if as_written else drawn / max(1, count.train) / plan.epochs
    return replace(count, drawn=drawn, weight=weight)


def _refuse_unfed(plan: MixPlan, counts: Sequence[SourceCount]) -> None:
    empty = []
    for source, count in zip(plan.sources, counts, strict=True):
        if count.train == 0 and source.draws and not source.allow_empty:
            empty.append(f"{source.name} ({count.available} pairs, {count.accepted} accepted, 0 in train)")
    if empty:
        raise MixError(
            f"a source of the mix must have pairs to train on. None in: {name_some(empty)}; mend its filter, "
            "build its data, or set allow_empty = true"
        )


def _refuse_empty(plan: MixPlan, counts: Sequence[SourceCount]) -> None:
    if plan.held_out:
        if not any(count.val or count.test for count in counts):
            raise MixError(f"mix {plan.name!r} must have a row to evaluate on, but holds none: build more data")
    elif not any(count.drawn for count in counts):
        raise MixError(
            f"mix {plan.name!r} draws no training sample: build more data, loosen the policy or raise weights"
        )


def _roots(connection: duckdb.DuckDBPyConnection) -> Iterator[str]:
    """Names of the roots that the mix's images are in; nothing is read before the first is asked for."""
    for row in fetch_rows(connection, load_sql("mix_roots")):
        yield row["root"]


def _footer(
    workspace: Workspace, decisions: Sequence[Decision], policy: Policy, plan: MixPlan, summary: MixSummary
) -> dict[str, Any]:
    def digests(manifest: Manifest, table: str) -> list[str]:
        return [shard.sha256 for shard in manifest.tables[table]]

    builds = [
        {
            "name": one.build,
            "pairs": digests(read_manifest(workspace, one.build), "pairs"),
            "verdicts": digests(one.manifest, "verdicts"),
            "thresholds": one.thresholds,
        }
        for one in decisions
    ]
    num_rows = summary.num_train + summary.num_val + summary.num_test
    return {
        "name": plan.name,
        "seed": plan.seed,
        "plan": plan.as_dict(),
        "builds": builds,
        "policy": {**policy.as_dict(), "sha256": policy.digest()},
        "sources": [asdict(source) for source in summary.sources],
        "num_unclaimed": summary.num_unclaimed,
        "num_train": summary.num_train,
        "num_val": summary.num_val,
        "num_test": summary.num_test,
        "num_rows": num_rows,
        "num_usable": num_rows,
    }
