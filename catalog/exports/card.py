"""The README.md of an export: YAML for the Hugging Face hub, then what it holds, whence, and under which licences."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from catalog.exports.licences import NONE_STATED, LicenceChoice, allows_copies
from catalog.exports.origin import BuildOrigin
from catalog.exports.pairs import PairOptions
from catalog.schema import SPLITS

TALLIED = ("split", "vision_task", "edit_type", "dataset", "licence", "donor_licence")
"""Columns by whose values an export's pairs are counted."""

HUB_SPLITS = {"train": "train", "val": "validation", "test": "test"}
"""Our splits under the names that `datasets` gives them."""

_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"), (10**7, "1M<n<10M"))
_LOADING = {
    "webdataset": 'dataset = webdataset.WebDataset("train-00000.tar", shardshuffle=False).decode("pil")',
    "datasets": 'dataset = datasets.load_dataset("path/of/this/folder")',
    "croissant": 'records = mlcroissant.Dataset("croissant.json").records("train")',
}
_COPIED = {
    "webdataset": "Pictures are in the tars",
    "datasets": "Pictures are in the Parquet files",
    "croissant": "No picture is here: rows say in which file of a dataset one lies, at which offset, and its SHA-256",
}


@dataclass(frozen=True, kw_only=True)
class CardFacts:
    """What the card is written from."""

    name: str
    kind: str
    """webdataset, datasets or croissant."""
    tallies: Counter[tuple[Any, ...]]
    """Pairs by `TALLIED`."""
    left_out: Counter[str]
    """Rows of the mix by the reason why they are not here."""
    mix_sha256: str
    footer: Mapping[str, Any]
    """Of the mix."""
    origins: Sequence[BuildOrigin]
    choice: LicenceChoice
    options: PairOptions

    def count(self, *columns: str) -> Counter[tuple[Any, ...]]:
        """Pairs by some of `TALLIED`."""
        places = [TALLIED.index(column) for column in columns]
        counted: Counter[tuple[Any, ...]] = Counter()
        for values, number in self.tallies.items():
            counted[tuple(values[place] for place in places)] += number
        return counted

    def licences(self) -> list[str]:
        """Every licence that a picture here is under, sorted."""
        found = {name for pair in self.count("licence", "donor_licence") for name in (pair[0] or NONE_STATED, pair[1])}
        return sorted(name for name in found if name is not None)


def describe_in_a_sentence(facts: CardFacts) -> str:
    """For catalogues of datasets."""
    policy = facts.footer["policy"]
    return (
        f"{facts.tallies.total():,} pairs of instruction, source and target for instruction-based image editing, from "
        f"mix {facts.footer['name']} (policy {policy['name']} v{policy['version']}, seed {facts.footer['seed']}, "
        f"SHA-256 of its footer {facts.mix_sha256})."
    )


def write_card(facts: CardFacts) -> str:
    """The text of README.md; the same facts give the same text."""
    parts = [_front_matter(facts), f"# {_words(facts.name)}\n", describe_in_a_sentence(facts) + "\n"]
    for title, body in (
        ("What is in it", _contents(facts)),
        ("Licences", _licences(facts)),
        ("How pairs were chosen", _policy(facts)),
        ("Where it comes from", _provenance(facts)),
        ("What is not in it", _left_out(facts)),
        ("Use", _use(facts)),
    ):
        parts.append(f"## {title}\n\n{body}\n")
    return "\n".join(parts)


def _front_matter(facts: CardFacts) -> str:
    number = facts.tallies.total()
    size = next((name for limit, name in _SIZES if number < limit), "n>10M")
    pattern = "{}-*.tar" if facts.kind == "webdataset" else "data/{}-*.parquet"
    lines = ["---", f"pretty_name: {json.dumps(facts.name)}", "license: other", "license_name: see-the-card"]
    lines += ["task_categories:", "- image-to-image", "tags:", "- image-editing", "size_categories:", f"- {size}"]
    lines += ["configs:", "- config_name: default", "  data_files:"]
    for split in _splits(facts):
        lines += [f"  - split: {HUB_SPLITS[split]}", f"    path: {pattern.format(split)}"]
    return "\n".join([*lines, "---\n"])


def _splits(facts: CardFacts) -> list[str]:
    present = {split for (split,) in facts.count("split")}
    return [split for split in SPLITS if split in present]


def _contents(facts: CardFacts) -> str:
    splits = _splits(facts)
    kinds: dict[tuple[Any, ...], Counter[str]] = {}
    for (*kind, split), number in facts.count("vision_task", "edit_type", "dataset", "split").items():
        kinds.setdefault(tuple(kind), Counter())[split] += number
    rows = [[*kind, *(kinds[kind][split] for split in splits)] for kind in sorted(kinds, key=str)]
    rows.append(["all", "", "", *(facts.count("split")[(split,)] for split in splits)])
    options = facts.options
    once = "Every draw of the mix is here, repeats included" if options.repeats else "Each pair of the mix is here once"
    text = _table(["vision task", "edit", "dataset", *splits], rows) + f"\n\n{_COPIED[facts.kind]}. {once}. "
    text += "Photos of one group never straddle splits. "
    if facts.kind == "croissant" or options.targets == "annotations":
        text += "What training words or draws at load time is not here: such rows lack instruction or target."
    else:
        text += (
            "Stored pictures are copied byte for byte. Masks and joints to be drawn, and wordings, were drawn once at "
            f"{options.size} x {options.size} pixels from (seed {options.seed}, index), as `drawn` says; `bbox` and "
            "`keypoints` are in pixels of the whole photo."
        )
    return text


def _licences(facts: CardFacts) -> str:
    rows = []
    for (licence, donor), number in sorted(facts.count("licence", "donor_licence").items(), key=str):
        words = [licence or NONE_STATED, *([] if donor is None else [donor])]
        rows.append([words[0], donor, "yes" if all(map(allows_copies, words)) else "not by its words", number])
    text = _table(["licence of the photo, as its dataset words it", "of the donor", "may be passed on", "pairs"], rows)
    if facts.choice.private and facts.kind != "croissant":
        text += "\n\n**This copy is for its maker's own use (`--private`): not all of it may be passed on.**"
    elif facts.choice.patterns:
        text += "\n\nWho made this export chose the licences: " + ", ".join(map(_code, facts.choice.patterns)) + "."
    return (
        text + "\n\nThe licence of each pair is in its row, and with it whom to name. Instructions are under the same."
    )


def _policy(facts: CardFacts) -> str:
    policy = facts.footer["policy"]
    parts = [
        f"Policy {_words(policy['name'])} v{policy['version']}: {_words(policy.get('description') or 'no description')}"
    ]
    for origin in facts.origins:
        if origin.waterfall is None:
            parts.append(f"Build {_words(origin.name)}: its verdicts were not at hand when this export was made.")
            continue
        parts.append(f"Build {_words(origin.name)}, from all candidates down to the accepted ones:")
        parts.append(_table(["stage", "removed", "remaining"], origin.waterfall))
    sources = facts.footer["sources"]
    columns = ("name", "available", "rejected", "barred", "train", "val", "test", "weight", "drawn")
    parts.append("Sources of the mix (`drawn`: training samples of an epoch, repeats included):")
    parts.append(_table(columns, [[source[column] for column in columns] for source in sources]))
    return "\n\n".join(parts)


def _provenance(facts: CardFacts) -> str:
    lines = [f"- mix {_words(facts.footer['name'])}, seed {facts.footer['seed']}, footer SHA-256 `{facts.mix_sha256}`"]
    for origin in facts.origins:
        lines.append(f"- build {_words(origin.name)}")
        if origin.backends is None:
            lines.append("  - helper models not known: its shards were not at hand when this export was made")
        else:
            lines += [f"  - helper model {_code(backend)}" for backend in origin.backends]
    lines.append(
        "- `pair_id` names a pair in its catalog: `python -m catalog explain PAIR_ID` there tells all about it"
    )
    return "\n".join(lines)


def _left_out(facts: CardFacts) -> str:
    if not facts.left_out:
        return "Nothing of the mix was left out."
    rows = [[reason, number] for reason, number in sorted(facts.left_out.items())]
    return _table(["reason", "rows of the mix"], rows) + "\n\n`left_out.jsonl` names each."


def _use(facts: CardFacts) -> str:
    return (
        f"    {_LOADING[facts.kind]}\n\n"
        "Columns are described by `manifest.json`. Digests: `sha256sum --check SHA256SUMS`. A photo may carry an EXIF "
        "orientation, which its viewer is to apply."
    )


def _table(headers: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    lines = [headers, ["---"] * len(headers), *rows]
    return "\n".join("| " + " | ".join(_words("" if cell is None else cell) for cell in line) + " |" for line in lines)


def _words(value: Any) -> str:
    """Any value as text within a line of Markdown: a dataset's words must not become layout."""
    text = f"{value:g}" if isinstance(value, float) else str(value)
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;").replace("[", "\\[")


def _code(text: str) -> str:
    return f"`{' '.join(text.split()).replace('`', chr(39))}`"
