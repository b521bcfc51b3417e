"""Make the edit benchmark of Table 5: propose samples, put down what people say of them, write it.

    python -m evaluation edits propose --mix catalog/edit_benchmarks/edits/source_mix.parquet --profile paper.toml
    python -m evaluation edits answer --person anna --sample ID --answer object_removal
    python -m evaluation edits status
    python -m evaluation edits finish

Flow build-edit-benchmark does the first and the last; the dashboard shows samples and takes answers.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from catalog.command_line import printable
from catalog.edit_benchmarks import (
    ANSWERS,
    candidates_path,
    count_states,
    list_disputed,
    read_candidates,
    read_confirmations,
    record_confirmation,
    settle,
)
from catalog.errors import ConfigError
from catalog.progress_line import ProgressLine
from catalog.workspace import Workspace
from evaluation.edit_benchmark_mix import finish
from evaluation.edit_proposals import ProposalOptions, Proposers, propose
from tasks.backends.registry import load_backend
from tasks.profiles import Profile, read_profile

NAME = "edits"
_EMBEDDED = {"captioner": "labels", "caption_editor": "rules"}


def main(arguments: Sequence[str]) -> int:
    """Run one of the four; exit status 0."""
    options = _parse(arguments)
    steps = {"propose": _propose, "answer": _answer, "status": _status, "finish": _finish}
    return steps[options.step](Workspace.default(), options)


def _propose(workspace: Workspace, options: argparse.Namespace) -> int:
    profile = None if options.profile is None else read_profile(options.profile)
    proposers = Proposers(**{role: _load(profile, role) for role in _EMBEDDED})
    chosen = ProposalOptions(
        per_class=options.per_class, splits=tuple(options.split or ("val", "test")), seed=options.seed
    )
    with ProgressLine() as line:

        def show(done: int, total: int) -> None:
            line.say(f"{done} of {total} samples captioned", is_last=done == total)

        rows = propose(workspace, options.name, options.mix, proposers, chosen, show)
    for name in (*ANSWERS[:-1], None):
        count = sum(row["proposed_class"] == name and row["reason"] is None for row in rows)
        sys.stdout.write(f"{name or 'left to people':20} {count}\n")
    sys.stdout.write(f"{'unusable':20} {sum(row['reason'] is not None for row in rows)}\n")
    sys.stdout.write(f"{'candidates':20} {candidates_path(workspace, options.name)}\n")
    return 0


def _load(profile: Profile | None, role: str) -> Any:
    if profile is None:
        return load_backend(role, _EMBEDDED[role])
    if role not in profile.backends:
        raise ConfigError(f"the profile must name a {role} under [backends]: add one, such as {_EMBEDDED[role]!r}")
    return load_backend(role, profile.backends[role], **profile.backend_options.get(role, {}))


def _answer(workspace: Workspace, options: argparse.Namespace) -> int:
    found = [row for row in read_candidates(workspace, options.name) if row["pair_id"] == options.sample]
    if not found:
        raise ConfigError(
            f"--sample must be the pair_id of a candidate of {options.name!r}. Got {options.sample!r:.80}"
        )
    given = record_confirmation(workspace, options.name, found[0], options.answer, options.person, options.caption)
    sys.stdout.write(f"{given.person}: {given.answer} for {given.pair_id}\n")
    return 0


def _status(workspace: Workspace, options: argparse.Namespace) -> int:
    candidates, answers = read_candidates(workspace, options.name), read_confirmations(workspace, options.name)
    counts = count_states(settle(candidates, answers))
    if options.json:
        sys.stdout.write(json.dumps(counts, indent=2) + "\n")
    else:
        sys.stdout.writelines(f"{name:20} {count}\n" for name, count in counts.items())
        for row, given in list_disputed(candidates, answers):
            said = ", ".join(f"{one.person}: {one.answer}" for one in given)
            sys.stdout.write(printable(f"to be answered again {row['pair_id']} ({said})") + "\n")
    return 0


def _finish(workspace: Workspace, options: argparse.Namespace) -> int:
    made = finish(workspace, options.name, options.total, options.confirmed_by, allow_fewer=options.allow_fewer)
    for name, count in made.counts.items():
        sys.stdout.write(f"{name:20} {count}\n")
    by = f"{made.num_people} people" if made.confirmed_by == "people" else "the rule alone: nobody has looked at them"
    sys.stdout.write(f"{'confirmed by':20} {by}\n{'digest':20} {made.sha256}\n{'benchmark':20} {made.path}\n")
    sys.stdout.write(f"{'barred list':20} {made.barred}\n")
    sys.stdout.write(
        "Copy the list beside each mix file that you train on and name it there, barred = "
        f'"{made.barred.name}": no training pair then shows these images or one that looks like them.\n'
    )
    return 0


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    plain = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog="python -m evaluation edits", description=__doc__, formatter_class=plain)
    steps = parser.add_subparsers(dest="step", required=True, metavar="propose | answer | status | finish")
    propose_, answer, status, finish_ = (steps.add_parser(name) for name in ("propose", "answer", "status", "finish"))
    for one in (propose_, answer, status, finish_):
        one.add_argument("--name", default=NAME, help="of the edit benchmark in the making (default: %(default)s)")
    propose_.add_argument(
        "--mix", type=Path, required=True, metavar="FILE", help="holds the edits; roots.json beside it"
    )
    propose_.add_argument(
        "--profile", type=Path, metavar="TOML", help="names captioner and caption_editor (default: the embedded ones)"
    )
    propose_.add_argument(
        "--per-class", type=int, default=500, metavar="N", help="samples of each class, and open ones (default: 500)"
    )
    propose_.add_argument(
        "--split", action="append", choices=("val", "test"), help="taken from (repeatable; default: both)"
    )
    propose_.add_argument("--seed", type=int, default=0, help="of the choice and the order (default: 0)")
    answer.add_argument("--sample", required=True, metavar="ID", help="pair_id of a candidate")
    answer.add_argument("--answer", required=True, choices=ANSWERS)
    answer.add_argument("--person", required=True, help="who answers, 1 to 80 characters")
    answer.add_argument("--caption", metavar="TEXT", help="the edited image in your words (default: as proposed)")
    status.add_argument("--json", action="store_true", help="as JSON")
    finish_.add_argument("--total", type=int, default=1000, metavar="N", help="samples (default: 1000, the paper's)")
    finish_.add_argument(
        "--confirmed-by",
        choices=("people", "rule"),
        default="people",
        help="whose classes are taken; rule: proposals that nobody has looked at, for a trial (default: people)",
    )
    finish_.add_argument("--allow-fewer", action="store_true", help="write what there is of a class that has too few")
    return parser.parse_args(arguments)
