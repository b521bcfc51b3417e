"""What commands print: plain tables that read the same on a terminal, in a log and in a file."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from catalog.command_line import printable
from catalog.counts import BuildCounts
from catalog.decisions import Changes, Decision
from catalog.mixes import MixSummary
from catalog.policies import Policy
from catalog.revocation import Revocation, Tombstone
from catalog.verification import Verification

_BAR = 30  # characters of a full bar
TABLE_1 = {
    "keypoint_detection": 245_000,
    "segmentation": 239_000,
    "image_enhancement": 46_000,
    "image_editing": 425_000,
}
"""The paper's effective training samples by vision task."""
_NUM_NAMED = 10


def text_table(headers: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Aligned columns: numbers right, words left, null as "-"."""
    cells = [[_cell(value) for value in row] for row in rows]
    right = [
        bool(rows) and all(value is None or isinstance(value, int | float) for value in column)
        for column in zip(*rows, strict=True)
    ] or [False] * len(headers)
    widths = [max(map(len, column)) for column in zip(headers, *cells, strict=True)]

    def line(values: Sequence[str]) -> str:
        pairs = zip(values, widths, right, strict=True)
        return "  ".join(
            text.rjust(width) if is_right else text.ljust(width) for text, width, is_right in pairs
        ).rstrip()

    return "\n".join([line(headers), line(["-" * width for width in widths]), *map(line, cells)])


def counted(number: int, noun: str) -> str:
    """A number of things: "1 pair", "0 pairs", "2 mixes"."""
    plural = f"{noun}es" if noun.endswith(("s", "x", "ch", "sh")) else f"{noun}s"
    return f"{number} {noun if number == 1 else plural}"


def waterfall(decision: Decision) -> str:
    """The survival waterfall: what each reason and condition removes, down to the accepted pairs."""
    total = max(1, decision.num_pairs)
    rows = []
    for stage in decision.waterfall:
        bar = "█" * round(_BAR * stage.remaining / total)
        limit = decision.thresholds.get(stage.name) if stage.kind == "condition" else None
        rows.append([stage.name, stage.kind, limit, stage.removed, stage.remaining, bar])
    rows.append(["accepted", "", None, None, decision.num_accepted, f"{decision.num_accepted / total:.1%}"])
    return text_table(["stage", "kind", "threshold", "removed", "remaining", ""], rows)


def changes(found: Changes, first: str, second: str) -> str:
    """What a second policy changes, with some of the pairs by name."""
    lines = []
    for title, ids, by in (
        (f"accepted by {second} only", found.gained, found.gained_from),
        (f"accepted by {first} only", found.lost, found.lost_to),
    ):
        causes = ", ".join(f"{condition} {count}" for condition, count in sorted(by.items()))
        lines.append(f"{title}: {len(ids)}" + (f" ({causes})" if causes else ""))
        lines += [f"  {pair_id}" for pair_id in ids[:_NUM_NAMED]]
        if len(ids) > _NUM_NAMED:
            lines.append(f"  and {len(ids) - _NUM_NAMED} more")
    return "\n".join(lines)


def replaced_policy(build: str, replaced: Policy, policy: Policy) -> str:
    """What happened to the decision on record of a policy of the same name and other conditions."""
    what = "scorers" if replaced.conditions == policy.conditions else "conditions"
    return (
        f"replaced the decision of policy {replaced.name} v{replaced.version} on {build}, made with other {what}: to "
        "keep both, give one of the two policies another name, as all versions of a name share one decision"
    )


def mix_table(summary: MixSummary) -> str:
    """Rows available, accepted and drawn for each source of a mix."""
    rows: list[list[Any]] = [
        [one.name, one.available, one.accepted, one.barred, one.train, one.weight, one.drawn, one.val, one.test]
        for one in summary.sources
    ]
    if summary.num_unclaimed:
        rows.append(["(no source)", summary.num_unclaimed, *[None] * 7])
    total = [sum(row[i] or 0 for row in rows) for i in (1, 2, 3, 4)]
    rows.append(["total", *total, None, summary.num_train, summary.num_val, summary.num_test])
    return text_table(
        ["mix source", "available", "accepted", "barred", "train", "weight", "drawn", "val", "test"], rows
    )


def table_1(summary: MixSummary) -> str:
    """Training samples by vision task beside the paper's table 1; sources that name no task share a line."""
    drawn = dict.fromkeys([*TABLE_1, None], 0)
    for one in summary.sources:
        drawn[one.vision_task] += one.drawn
    tasks = [task for task in drawn if drawn[task] or task]
    total = sum(TABLE_1.values())
    rows = [
        [task or "(any)", drawn[task], drawn[task] / max(1, summary.num_train)]
        + ([TABLE_1[task], TABLE_1[task] / total] if task else [None, None])
        for task in tasks
    ]
    return text_table(["vision task", "drawn", "share", "table 1", "its share"], rows)


def build_counts(counts: BuildCounts) -> str:
    """The tables of a build, one below the other."""
    parts = []
    for rows in (counts.tables, counts.reasons, counts.pairs, counts.decisions):
        if rows:
            headers = [key.removeprefix("num_") for key in rows[0]]
            parts.append(text_table(headers, [list(row.values()) for row in rows]))
    return "\n\n".join(parts)


def revocation(found: Revocation) -> str:
    """What withdrawals reach."""
    lines = [counted(len(found.pairs), "pair"), *(f"  {pair_id}" for pair_id in found.pairs[:_NUM_NAMED])]
    if len(found.pairs) > _NUM_NAMED:
        lines.append(f"  and {len(found.pairs) - _NUM_NAMED} more: --json names all")
    lines += [f"mix {name}: {counted(num_draws, 'draw')}" for name, num_draws in found.mixes.items()]
    for one in found.checkpoints:
        ranges = ", ".join(f"{first}:{last}" for first, last in one.steps[:_NUM_NAMED])
        more = f" and {len(one.steps) - _NUM_NAMED} more ranges" if len(one.steps) > _NUM_NAMED else ""
        facts = [f"steps {ranges}{more}" if ranges else None, one.started_from and f"started from {one.started_from}"]
        lines.append(f"checkpoint {one.run}/{one.checkpoint}: {', '.join(filter(None, facts))}")
    lines += [f"run {name}: its mix is no longer here, so what it saw is not known" for name in found.unknown_runs]
    return "\n".join(lines)


def unmatched_withdrawals(files: Mapping[Tombstone, Path], recorded: bool) -> str:
    """That withdrawals reach nothing yet, and how to lift those that were recorded."""
    lines = ["no pair of any build bears these names yet: are they as `explain` shows them?"]
    if recorded:
        lines.append("they are kept for what is built later; to lift one, delete its file, then decide and mix again:")
    lines += [f"  {one.kind} {one.value}" + (f": {path}" if recorded else "") for one, path in files.items()]
    return printable("\n".join(lines))


def duplicates(found: Mapping[str, Any]) -> str:
    """Photos that occur twice, and those that are barred from training."""
    lines = [f"{counted(found['num_photos'], 'photo')}, {len(found['unread'])} could not be read"]
    lines += [f"  {digest[:12]}: {printable(why)}" for digest, why in found["unread"].items()]
    for kind in ("exact", "near"):
        lines.append(f"{kind} duplicates: {len(found[kind])}")
        lines += ["  " + printable(" = ".join(one["names"])) for one in found[kind]]
    lines.append(f"barred: {len(found['barred'])}")
    lines += [f"  {digest[:12]} is or looks like {other[:12]}" for digest, other in found["barred"].items()]
    return "\n".join(lines)


def verification(found: Verification, deep: bool) -> str:
    """What was checked, what is wrong, what lies around."""
    lines = [f"problem: {sentence}" for sentence in found.problems]
    lines += [f"note: {sentence}" for sentence in found.notes]
    numbers = {"manifest": found.num_manifests, "shard": found.num_shards, "row": found.num_rows}
    checked = [counted(number, noun) for noun, number in numbers.items()]
    checked.append(f"{counted(found.num_images, 'image')} {'read' if deep else 'in place'}")
    checked.append(counted(found.num_mixes, "mix"))
    problems = counted(len(found.problems), "problem") if found.problems else "no problems"
    lines.append(f"{', '.join(checked)}: {problems}")
    return "\n".join(lines)


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.6g}" if isinstance(value, float) else printable(str(value))
