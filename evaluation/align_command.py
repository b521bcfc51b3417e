"""Human alignment: sample variants, judge them by a program, draw the curve by epoch.

    python -m evaluation align sample --checkpoint runs/task_training/pipeline --set first-1000
    python -m evaluation align judge --set first-1000 --person "judge 1"
    python -m evaluation align agreement --set first-1000
    python -m evaluation align choose --set first-1000 --build chosen
    python -m evaluation align curve --run runs/human_alignment --split test

Paper sections 3.3 and 4.8; flow `align` calls these in order. Between sampling and training stand people (`make
dashboard`, page Choose); ``judge`` is a program in their place, for trials. Each command goes on where it was stopped.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

from catalog.agreement import measure_agreement
from catalog.alignment_sets import AlignmentSet
from catalog.choices import find_progress, list_people
from catalog.chosen_pairs import Judges, choices_of, choose
from catalog.command_line import hush_libraries
from catalog.errors import ConfigError, PredictionError
from catalog.outputs import check_output_folder
from catalog.progress_line import ProgressLine
from catalog.schema import SPLITS
from catalog.workspace import Workspace

_AGREEMENTS = ("alpha of variants", "alpha of sets", "overlap")
_INFRA = Path(__file__).resolve().parents[1] / "infra"


def main(arguments: Sequence[str]) -> int:
    """Run one subcommand; exit status 0."""
    options = _parse(arguments)
    hush_libraries()
    commands = {"sample": _sample, "judge": _judge, "agreement": _agreement, "choose": _choose, "curve": _curve}
    return commands[options.command](options)


def _sample(options: argparse.Namespace) -> int:
    from evaluation.checkpoints import image_size
    from evaluation.guidance_grids import GuidanceGrid
    from evaluation.variants import SamplingPlan, VariantSampler, sample_variants
    from trainer.config import TOKENIZER

    workspace = Workspace.default()
    names = ("split", "limit", "seed", "batch_size", "device")
    plan = SamplingPlan(
        grid=GuidanceGrid.read(options.grid),
        size=image_size(options.checkpoint) if options.size is None else options.size,
        **{name: getattr(options, name) for name in names},
    )
    sampler = VariantSampler(options.checkpoint, plan, options.tokenizer or TOKENIZER)
    mix = options.mix or workspace.catalog / "mix.parquet"
    with ProgressLine() as line:

        def show(done: int, total: int) -> None:
            line.say(f"{options.set}: {done} of {total} items", is_last=done == total)

        sample_variants(workspace, options.set, mix, sampler, plan, show)
    alignment = AlignmentSet.read(workspace, options.set)
    _say(
        {
            "set": options.set,
            "items": len(alignment.items),
            "variants": f"{len(plan.grid)} each, at {plan.size} pixels, in {plan.grid.num_steps} steps",
            "failed": alignment.num_failed,
            "checkpoint": (sampler.checkpoint_sha256 or "")[:12],
        }
    )
    if alignment.num_failed == len(alignment.items) * len(plan.grid):
        raise PredictionError(
            f"a checkpoint must make pictures, but all {alignment.num_failed} variants of {options.set} failed (their "
            "reasons are in its table variants): its weights are not finite or it is not what it seems; take another "
            "checkpoint and another --set"
        )
    return 0


def _judge(options: argparse.Namespace) -> int:
    from evaluation.simulated_judge import JudgeOptions, judge_name, judge_set

    alignment = AlignmentSet.read(Workspace.default(), options.set)
    similarity = _load_similarity(options.profile)
    taste = JudgeOptions(noise=options.noise, least_likeness=options.least_likeness)
    with ProgressLine() as line:
        for person in options.person:

            def show(done: int, total: int, person: str = person) -> None:
                line.say(f"{person}: {done} of {total} items", is_last=done == total)

            judged = judge_set(alignment, person, similarity, taste, show)
            items = f"{judged} answered now, {len(alignment.items) - judged} before"
            _say({"simulated judge": person, "revision": judge_name(similarity, taste), "items": items})
    return 0


def _agreement(options: argparse.Namespace) -> int:
    alignment = AlignmentSet.read(Workspace.default(), options.set)
    people = list_people(alignment)
    for person, judge in people.items():
        found = find_progress(alignment, person)
        stale = f", {found.num_stale} about other pictures" if found.num_stale else ""
        _say({person: f"{found.num_done} of {found.num_items} items{stale}" + (f"  ({judge})" if judge else "")})
    for judges in get_args(Judges):
        agreement = measure_agreement(alignment, choices_of(alignment, judges))
        if len(agreement.people) > 1:
            values = [agreement.alpha_variants, agreement.alpha_sets, agreement.overlap]
            shown = ["-" if value is None else f"{value:.3f}" for value in values]
            numbers = ", ".join(f"{name} {value}" for name, value in zip(_AGREEMENTS, shown, strict=True))
            _say({judges: f"{agreement.num_items} items answered by two or more: {numbers}"})
    if not people:
        _say({options.set: f"nobody has answered any of its {len(alignment.items)} items yet"})
    return 0


def _choose(options: argparse.Namespace) -> int:
    given: dict[str, Any] = {"judges": options.judges, "min_votes": options.min_votes, "people": options.person}
    chosen = choose(Workspace.default(), options.set, options.build, **given)
    _say(
        {
            "build": chosen.build,
            "chosen by": ", ".join(chosen.people),
            "items answered": f"{chosen.num_answered} of {chosen.num_items}, {chosen.num_none} without a choice",
            "pairs": chosen.num_pairs,
        }
    )
    if not chosen.num_pairs:
        raise ConfigError(
            f"build {chosen.build} must have a pair to train on, but no variant has {options.min_votes} votes of "
            f"{options.judges}: answer more items (page Choose of `make dashboard`) or lower --min-votes"
        )
    return 0


def _curve(options: argparse.Namespace) -> int:
    from evaluation.alignment_curve import CurveOptions, measure_curve
    from evaluation.benchmarks import benchmark_mix, find_benchmark
    from evaluation.checkpoints import SamplingOptions

    output = check_output_folder(options.output or options.run / "curve")
    catalog = Workspace.default().catalog
    benchmark = None if options.benchmark is None else find_benchmark(options.benchmark)
    default = catalog / "mix.parquet" if benchmark is None else benchmark_mix(catalog, benchmark.key)
    names = ("split", "size", "limit", "batch_size", "seed", "device")
    curve = CurveOptions(**{name: getattr(options, name) for name in names})
    sampling = SamplingOptions(
        num_steps=options.steps, text_guidance=options.text_guidance, image_guidance=options.image_guidance
    )
    similarity = _load_similarity(options.profile)
    with ProgressLine() as line:

        def show(name: str, done: int, total: int) -> None:
            line.say(f"{name}: {done} of {total} rows", is_last=done == total)

        mix = options.mix or default
        points, replaced = measure_curve(options.run, mix, output, similarity, sampling, curve, show, benchmark)
    best = max(points, key=lambda point: (point.text_similarity is not None, point.text_similarity or 0.0))
    kept = {} if replaced is None else {"another curve was there": f"it is kept in {replaced}"}
    _say({"checkpoints": len(points), "best epoch": best.epoch, "curve": output / "curve.md", **kept})
    return 0


def _load_similarity(profile: Path | None) -> Any:
    """The helper model behind CLIP-Sim that a profile names, or the embedded one. No other is loaded."""
    from tasks.backends.registry import load_backend
    from tasks.profiles import read_profile

    role = "pair_similarity"
    if profile is None:
        return load_backend(role, "histogram")
    chosen = read_profile(profile)
    if role not in chosen.backends:
        raise ConfigError(f"{profile} must name a {role} under [backends]: add one, such as 'histogram'")
    return load_backend(role, chosen.backends[role], **chosen.backend_options.get(role, {}))


def _say(facts: dict[str, Any]) -> None:
    width = max(map(len, facts))
    sys.stdout.writelines(f"{name:{width}}  {value}\n" for name, value in facts.items())


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    summary, _, rest = (__doc__ or "").partition("\n\n")
    plain = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(
        prog="python -m evaluation align", description=summary, epilog=rest, formatter_class=plain
    )
    commands = parser.add_subparsers(dest="command", required=True)
    sample = commands.add_parser("sample", help="variants of each item under a grid of guidance settings")
    _add_sampling(sample)
    judge = commands.add_parser("judge", help="a simulated judge answers what it has not answered yet")
    judge.add_argument("--set", required=True, metavar="NAME", help="alignment set")
    judge.add_argument(
        "--person", action="append", required=True, metavar="NAME", help="under which it answers (repeatable)"
    )
    judge.add_argument("--noise", type=float, default=0.01, help="standard deviation, of a cosine (default: 0.01)")
    judge.add_argument(
        "--least-likeness", type=float, default=0.2, help="cosine to the source, below: never chosen (default: 0.2)"
    )
    judge.add_argument("--profile", type=Path, metavar="TOML", help="names pair_similarity (default: the embedded one)")
    agreement = commands.add_parser("agreement", help="how far each person is, and how far they agree")
    agreement.add_argument("--set", required=True, metavar="NAME", help="alignment set")
    chosen = commands.add_parser("choose", help="what was chosen as a build, for `python -m catalog mix`")
    chosen.add_argument("--set", required=True, metavar="NAME", help="alignment set")
    chosen.add_argument("--build", required=True, metavar="NAME", help="of the build that is written")
    chosen.add_argument(
        "--judges", choices=get_args(Judges), default="people", help="whose choices count (default: people)"
    )
    chosen.add_argument(
        "--person", action="append", metavar="NAME", help="whose choices count alone (repeatable; default: everybody's)"
    )
    chosen.add_argument("--min-votes", type=int, default=1, metavar="N", help="choosers of a variant at least (1)")
    _add_curve(commands.add_parser("curve", help="CLIP-Sim after each epoch of a stage-3 run"))
    return parser.parse_args(arguments)


def _add_curve(curve: argparse.ArgumentParser) -> None:
    add = curve.add_argument
    add("--run", type=Path, required=True, metavar="FOLDER", help="of the stage-3 run; its checkpoints are measured")
    add("--mix", type=Path, metavar="FILE", help="whose edits are measured (default: $IEIW_HOME/catalog/mix.parquet)")
    add("--benchmark", metavar="NAME", help="measure one of the paper's benchmarks instead, such as edits_1000")
    add("--split", choices=SPLITS[1:], default="val", help="of the mix (default: val)")
    add("--limit", type=int, metavar="N", help="at most N rows of each edit type (default: all)")
    add("--output", type=Path, metavar="FOLDER", help="(default: RUN/curve)")
    add("--profile", type=Path, metavar="TOML", help="names pair_similarity (default: the embedded one, not CLIP)")
    add("--size", type=int, default=256, metavar="PIXELS", help="side of the images (default: 256, the paper's)")
    add("--steps", type=int, default=100, help="sampling steps, 1 to 1000 (default: 100, the official code's)")
    add("--text-guidance", type=float, default=7.5, help="scale of the instruction (default: 7.5)")
    add("--image-guidance", type=float, default=1.5, help="scale of the source image (default: 1.5)")
    add("--batch-size", type=int, default=8, metavar="N", help="images sampled at once (default: 8)")
    add("--seed", type=int, default=0, help="of the noise (default: 0)")
    add("--device", choices=("cpu", "cuda"), default="cpu", help="where to sample (default: cpu)")


def _add_sampling(sample: argparse.ArgumentParser) -> None:
    sample.add_argument("--set", required=True, metavar="NAME", help="of the alignment set")
    sample.add_argument("--checkpoint", type=Path, required=True, metavar="PATH", help="pipeline folder, or one file")
    sample.add_argument("--tokenizer", metavar="PLACE", help="of a single file: folder or hub id")
    sample.add_argument("--mix", type=Path, metavar="FILE", help="(default: $IEIW_HOME/catalog/mix.parquet)")
    sample.add_argument(
        "--split", choices=SPLITS, default="train", help="whose editing rows are the items (default: train)"
    )
    sample.add_argument(
        "--limit", type=int, default=1000, metavar="N", help="items at most (default: the paper's 1000)"
    )
    sample.add_argument(
        "--grid",
        type=Path,
        default=_INFRA / "guidance" / "paper.toml",
        metavar="TOML",
        help="guidance settings (default: infra/guidance/paper.toml, 20 of them)",
    )
    sample.add_argument(
        "--size", type=int, metavar="PIXELS", help="side (default: the checkpoint's, at most the paper's 256)"
    )
    sample.add_argument("--batch-size", type=int, default=20, metavar="N", help="variants at once (default: 20)")
    sample.add_argument("--seed", type=int, default=0, help="of the order of items and the noise (default: 0)")
    sample.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="where to sample (default: cpu)")
