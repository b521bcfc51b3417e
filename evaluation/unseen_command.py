"""Evaluate a checkpoint on tasks that it was not trained on: detection, classification, face alignment.

    python -m evaluation unseen --checkpoint runs/task_training/pipeline --mix catalog/mix.parquet
    python -m evaluation unseen --control oracle --task detection

Figure 11 of the paper shows pictures of these tasks and prints no number. Prompts are the template files in
evaluation/prompts; predicted images are kept, so a run that was stopped goes on.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from catalog.command_line import hush_libraries
from catalog.outputs import check_output_folder
from catalog.progress_line import ProgressLine
from catalog.render_styles import RenderStyle
from catalog.schema import SPLITS
from catalog.workspace import Workspace
from evaluation.predictions import CONTROLS
from evaluation.tables import print_rows

_TASKS = ("detection", "classification", "face_alignment")
_PAPER_SIZE = 256


def main(arguments: Sequence[str]) -> int:
    """Evaluate; exit status 0."""
    options = _parse(arguments)
    check_output_folder(options.output)
    hush_libraries()
    from evaluation.metric_rows import Row
    from evaluation.run import EvaluationOptions, write_rows
    from evaluation.unseen_options import UnseenOptions
    from evaluation.unseen_run import NothingToAsk, evaluate_unseen
    from trainer.overrides import override

    predictor, size = _load_predictor(options)
    evaluation = EvaluationOptions(
        size=size if options.size is None else options.size,
        render=override(RenderStyle(), options.set, prefix="render."),
        **{name: getattr(options, name) for name in ("split", "limit", "batch_size", "seed")},
    )
    unseen = UnseenOptions(num_classes=options.num_classes, min_part=options.min_part)
    decoder = None
    if options.decoder is not None:
        from evaluation.network_decoder import load_network_decoder

        decoder = load_network_decoder(options.decoder)
    rows: list[Row] = []
    nothing: list[NothingToAsk] = []
    with ProgressLine() as line:

        def show(benchmark: str, done: int, total: int) -> None:
            line.say(f"{benchmark}: {done} of {total} questions", is_last=done == total)

        for name in dict.fromkeys(options.task or _TASKS):
            try:
                rows += evaluate_unseen(name, predictor, options.mix, options.output, evaluation, unseen, show, decoder)
            except NothingToAsk as error:
                if options.task:  # it was asked for by name
                    raise
                nothing.append(error)
    if not rows:
        raise nothing[0]
    sys.stdout.writelines(f"left out     {error}\n" for error in nothing)
    write_rows(options.output, rows)
    print_rows(rows)
    for what, name in (("metric rows", "metrics.parquet"), ("table", "metrics.md")):
        sys.stdout.write(f"{what:12} {options.output / name}\n")
    return 0


def _load_predictor(options: argparse.Namespace) -> tuple[Any, int]:
    """Who answers, and the side of the pictures that it is made for."""
    from evaluation.checkpoints import CheckpointPredictor, SamplingOptions, image_size
    from trainer.config import TOKENIZER

    if options.control is not None:
        return CONTROLS[options.control](), _PAPER_SIZE
    names = ("text_guidance", "image_guidance", "guidance")
    sampling = SamplingOptions(num_steps=options.steps, **{name: getattr(options, name) for name in names})
    tokenizer = options.tokenizer or TOKENIZER
    return CheckpointPredictor(options.checkpoint, sampling, options.device, tokenizer), image_size(options.checkpoint)


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m evaluation unseen", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    workspace = Workspace.default()
    add = parser.add_argument
    who = parser.add_mutually_exclusive_group(required=True)
    who.add_argument("--checkpoint", type=Path, metavar="PATH", help="pipeline folder, or one file in the old layout")
    who.add_argument("--control", choices=tuple(CONTROLS), help="a control in a checkpoint's place")
    add("--tokenizer", metavar="PLACE", help="of a single file: folder or hub id")
    add(
        "--task",
        action="append",
        choices=_TASKS,
        help="repeatable (default: those of the three that the mix has rows for)",
    )
    add(
        "--mix",
        type=Path,
        default=workspace.catalog / "mix.parquet",
        metavar="FILE",
        help="its held-out rows are asked about: segmentation, and keypoints with eyes (default: "
        "$IEIW_HOME/catalog/mix.parquet)",
    )
    add("--split", choices=SPLITS[1:], default="val", help="(default: val)")
    add("--limit", type=int, metavar="N", help="at most N phrases, photos or faces of each task (default: all)")
    add(
        "--output",
        type=Path,
        metavar="FOLDER",
        help="rows, table, pictures (default: $IEIW_HOME/runs/unseen, of a control runs/unseen-CONTROL)",
    )
    add("--num-classes", type=int, default=10, metavar="N", help="classification: asked per photo (default: 10)")
    add("--min-part", type=float, default=0.0, help="detection: smaller shares of a region are no part of its box (0)")
    add("--decoder", type=Path, metavar="FILE", help="trained post-processor (default: by colour distance)")
    add("--steps", type=int, default=100, help="sampling steps, 1 to 1000 (default: 100, the official code's)")
    add("--text-guidance", type=float, default=7.5, help="scale of the instruction (default: 7.5)")
    add("--image-guidance", type=float, default=1.5, help="scale of the source image (default: 1.5)")
    add("--guidance", choices=("ip2p", "official"), default="ip2p", help="formula that combines them (default: ip2p)")
    add("--size", type=int, metavar="PIXELS", help="side (default: the checkpoint's, at most the paper's 256)")
    add("--batch-size", type=int, default=8, metavar="N", help="images sampled at once (default: 8)")
    add("--seed", type=int, default=0, help="of rendering and noise (default: 0)")
    add("--set", action="append", default=[], metavar="render.FIELD=VALUE", help="how samples are drawn (repeatable)")
    add("--device", choices=("cpu", "cuda"), default="cpu", help="where to sample (default: cpu)")
    options = parser.parse_args(arguments)
    if options.output is None:
        options.output = workspace.runs / (f"unseen-{options.control}" if options.control else "unseen")
    return options
