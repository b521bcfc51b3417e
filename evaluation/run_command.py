"""Evaluate a checkpoint, a pipeline or a control on held-out rows of a mix, or on a benchmark.

    python -m evaluation run --checkpoint runs/demo/pipeline --mix catalog/mix.parquet --steps 10
    python -m evaluation run --checkpoint runs/demo/pipeline --benchmark refcoco_val --benchmark voc_val
    python -m evaluation run --control oracle --benchmark gopro_test

Predicted images are kept: a run that was stopped goes on, and a finished one is read back in seconds.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from catalog.command_line import hush_libraries
from catalog.outputs import check_output_folder
from catalog.progress_line import ProgressLine
from catalog.render_styles import RenderStyle
from catalog.schema import SPLITS
from catalog.workspace import Workspace
from evaluation.benchmarks import PaperBenchmark, benchmark_mix, find_benchmark
from evaluation.predictions import CONTROLS
from evaluation.tables import print_rows

_PAPER_SIZE = 256


def main(arguments: Sequence[str]) -> int:
    """Evaluate; exit status 0."""
    options = _parse(arguments)
    check_output_folder(options.output)
    hush_libraries()
    from evaluation.helper_models import load_helpers
    from evaluation.run import EvaluationOptions, check_mix, evaluate, write_rows
    from trainer.overrides import override

    benchmarks = [find_benchmark(key) for key in dict.fromkeys(options.benchmark)]
    for benchmark in benchmarks or (None,):
        check_mix(options.mix or _default_mix(benchmark), benchmark)  # before a judge is paid
    predictor, size = _load_predictor(options)
    helpers = _add_judge(load_helpers(options.profile), options)
    decoder = None if options.decoder is None else _load_decoder(options.decoder)
    evaluation = EvaluationOptions(
        split=options.split,
        size=size if options.size is None else options.size,
        limit=options.limit,
        batch_size=options.batch_size,
        seed=options.seed,
        render=override(RenderStyle(), options.set, prefix="render."),
        no_target_pixels=options.no_target_pixels,
    )
    rows = []
    with ProgressLine() as line:

        def show(benchmark: str, done: int, total: int) -> None:
            line.say(f"{benchmark}: {done} of {total} rows", is_last=done == total)

        for benchmark in benchmarks or (None,):
            mix = options.mix or _default_mix(benchmark)
            given: dict[str, Any] = {"benchmark": benchmark, "decoder": decoder}
            given["checkpoint"] = options.checkpoint or options.pipeline
            rows += evaluate(predictor, mix, options.output, helpers, evaluation, show, **given)
    if len(benchmarks) > 1:
        write_rows(options.output, rows)
    print_rows(rows)
    for what, name in (("metric rows", "metrics.parquet"), ("table", "metrics.md"), ("pictures", "predictions.png")):
        sys.stdout.write(f"{what:12} {options.output / name}\n")
    return 0


def _load_predictor(options: argparse.Namespace) -> tuple[Any, int]:
    """Who answers, and the side of the pictures that it is made for."""
    from evaluation.checkpoints import CheckpointPredictor, SamplingOptions, image_size
    from evaluation.diffusers_predictor import PipelinePredictor
    from trainer.config import TOKENIZER

    if options.control is not None:
        return CONTROLS[options.control](), _PAPER_SIZE
    sampling = SamplingOptions(
        num_steps=options.steps,
        text_guidance=options.text_guidance,
        image_guidance=options.image_guidance,
        guidance=options.guidance,
    )
    if options.pipeline is not None:
        return PipelinePredictor(options.pipeline, sampling, options.device), image_size(options.pipeline)
    predictor = CheckpointPredictor(options.checkpoint, sampling, options.device, options.tokenizer or TOKENIZER)
    return predictor, image_size(options.checkpoint)


def _add_judge(helpers: Any, options: argparse.Namespace) -> Any:
    """The helper models with the judge, whose drift has been checked; without ``--judge`` as they are."""
    if options.judge is None:
        return helpers
    from evaluation.judge import read_judge
    from evaluation.judge_drift import check_drift

    settings = read_judge(options.judge)
    judge = check_drift(Workspace.default(), settings, accept=options.accept_drift)
    return replace(helpers, judge=judge, max_unanswered=settings.max_unanswered)


def _load_decoder(path: Path) -> Any:
    from evaluation.network_decoder import load_network_decoder  # torch, which no control needs

    return load_network_decoder(path)


def _default_mix(benchmark: PaperBenchmark | None) -> Path:
    catalog = Workspace.default().catalog
    return catalog / "mix.parquet" if benchmark is None else benchmark_mix(catalog, benchmark.key)


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    run = argparse.ArgumentParser(
        prog="python -m evaluation run", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    who = run.add_mutually_exclusive_group(required=True)
    who.add_argument(
        "--checkpoint",
        type=Path,
        metavar="PATH",
        help="pipeline folder that training exported, or one file in Stable Diffusion v1's original layout (the "
        "official checkpoints); sampled by our own code",
    )
    who.add_argument(
        "--pipeline",
        type=Path,
        metavar="FOLDER",
        help="diffusers pipeline that edits by instruction (InstructPix2Pix, MagicBrush); run as it is",
    )
    who.add_argument("--control", choices=tuple(CONTROLS), help="a control in a checkpoint's place")
    run.add_argument(
        "--tokenizer", metavar="PLACE", help="folder or hub id of the tokenizer of a single file, which has none"
    )
    run.add_argument(
        "--benchmark",
        action="append",
        default=[],
        metavar="NAME",
        help="one of the paper's benchmarks, as `benchmarks` lists them (repeatable; default: the splits of a mix)",
    )
    run.add_argument(
        "--mix",
        type=Path,
        metavar="FILE",
        help="mix file; roots.json must lie beside it (default: $IEIW_HOME/catalog/mix.parquet, of a benchmark "
        "$IEIW_HOME/catalog/benchmarks/NAME.parquet)",
    )
    run.add_argument(
        "--split",
        choices=SPLITS[1:],
        default="val",
        help="held-out split of a mix; a benchmark has its own (default: val)",
    )
    run.add_argument(
        "--output",
        type=Path,
        default=Workspace.default().runs / "evaluation",
        metavar="FOLDER",
        help="folder for metrics.parquet, predictions.png and the images (default: $IEIW_HOME/runs/evaluation)",
    )
    _add_sampling(run)
    run.add_argument(
        "--profile",
        type=Path,
        metavar="TOML",
        help="names pair_similarity and aesthetic_scorer in [backends] (default: the embedded ones)",
    )
    run.add_argument(
        "--judge",
        type=Path,
        metavar="TOML",
        help="url, model and further options of a vision-language model that judges edits, and those of each control "
        "(default: none)",
    )
    run.add_argument(
        "--accept-drift",
        action="store_true",
        help="the judge judges the anchor pairs otherwise than before: begin anew with what it says now",
    )
    return run.parse_args(arguments)


def _add_sampling(run: argparse.ArgumentParser) -> None:
    run.add_argument(
        "--steps", type=int, default=100, help="sampling steps, 1 to 1000 (default: 100, the official code's)"
    )
    run.add_argument(
        "--text-guidance", type=float, default=7.5, help="scale of the instruction (default: 7.5, InstructPix2Pix)"
    )
    run.add_argument(
        "--image-guidance", type=float, default=1.5, help="scale of the source image (default: 1.5, InstructPix2Pix)"
    )
    run.add_argument(
        "--guidance",
        choices=("ip2p", "official"),
        default="ip2p",
        help="formula that combines the scales: InstructPix2Pix's or the official code's (default: ip2p)",
    )
    run.add_argument("--limit", type=int, metavar="N", help="at most N rows of each benchmark (default: all)")
    run.add_argument(
        "--size",
        type=int,
        metavar="PIXELS",
        help="side of the images, a multiple of 8 (default: the checkpoint's own size, at most the paper's 256)",
    )
    run.add_argument(
        "--decoder",
        type=Path,
        metavar="FILE",
        help="post-processor that `train-decoder` wrote; reads masks and joints (default: by colour distance)",
    )
    run.add_argument(
        "--no-target-pixels",
        type=int,
        metavar="N",
        help="a mask of fewer pixels, on a picture of 480 x 480, counts as empty (default: 50 for gRefCOCO, else 0)",
    )
    run.add_argument("--batch-size", type=int, default=8, metavar="N", help="images sampled at once (default: 8)")
    run.add_argument("--seed", type=int, default=0, help="of rendering and noise (default: 0)")
    run.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="render.FIELD=VALUE",
        help="change how samples are drawn, as the trainer's --set does (repeatable; default: as the paper)",
    )
    run.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="where to sample (default: cpu)")
