"""Train the U-Net that reads masks and joints from output images.

python -m evaluation train-decoder --mix catalog/mix.parquet --output runs/decoder.safetensors
    python -m evaluation train-decoder --checkpoint runs/task_training/pipeline --generated 1000

With a checkpoint it also learns from what that one really draws; its outputs are kept and not made again.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from catalog.outputs import check_output_file
from catalog.progress_line import ProgressLine
from catalog.render_styles import RenderStyle
from catalog.workspace import Workspace


def main(arguments: Sequence[str]) -> int:
    """Train; exit status 0."""
    options = _parse(arguments)
    check_output_file(options.output)
    from evaluation.decoder_training import DecoderTraining, train_decoder
    from trainer.overrides import override

    names = ("batch_size", "learning_rate", "width", "size", "strength", "generated_share", "seed")
    training = DecoderTraining(num_steps=options.steps, **{name: getattr(options, name) for name in names})
    style = override(RenderStyle(), options.set, prefix="render.")
    with ProgressLine() as line:

        def show(done: int, total: int, loss: float) -> None:
            line.say(f"step {done} of {total}, loss {loss:.4f}", is_last=done == total)

        generated = _generate(options, style, line)
        losses = train_decoder(options.mix, options.output, training, style, show, generated)
    tenth = max(1, len(losses) // 10)
    first, last = (sum(part) / len(part) for part in (losses[:tenth], losses[-tenth:]))
    for what, value in (("loss, first tenth", f"{first:.4f}"), ("loss, last tenth", f"{last:.4f}")):
        sys.stdout.write(f"{what:18} {value}\n")
    sys.stdout.write(f"{'checkpoint':18} {options.output}\n")
    return 0


def _generate(options: argparse.Namespace, style: RenderStyle, line: ProgressLine) -> list[Any]:
    """What the checkpoint draws; nothing without one."""
    if options.checkpoint is None:
        return []
    from evaluation.checkpoints import CheckpointPredictor, SamplingOptions
    from evaluation.generated_outputs import generate_outputs
    from trainer.config import TOKENIZER

    sampling = SamplingOptions(
        num_steps=options.sampling_steps,
        text_guidance=options.text_guidance,
        image_guidance=options.image_guidance,
        guidance=options.guidance,
    )
    predictor = CheckpointPredictor(options.checkpoint, sampling, options.device, options.tokenizer or TOKENIZER)

    def show(done: int, total: int) -> None:
        line.say(f"{done} of {total} outputs generated", is_last=done == total)

    folder = options.output.with_suffix("") / "outputs"
    return generate_outputs(predictor, options.mix, folder, options.generated, style, options.size, options.seed, show)


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    train = argparse.ArgumentParser(
        prog="python -m evaluation train-decoder",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    workspace = Workspace.default()
    train.add_argument(
        "--mix",
        type=Path,
        default=workspace.catalog / "mix.parquet",
        metavar="FILE",
        help="its segmentation and keypoint rows of split train are drawn (default: $IEIW_HOME/catalog/mix.parquet)",
    )
    train.add_argument(
        "--output",
        type=Path,
        default=workspace.runs / "decoder.safetensors",
        metavar="FILE",
        help="checkpoint; options and losses go to the .json beside it (default: $IEIW_HOME/runs/decoder.safetensors)",
    )
    train.add_argument("--steps", type=int, default=4000, help="optimizer steps (default: 4000)")
    train.add_argument("--batch-size", type=int, default=8, metavar="N", help="examples per step (default: 8)")
    train.add_argument("--learning-rate", type=float, default=1e-3, help="of AdamW, cosine to 0 (default: 0.001)")
    train.add_argument("--width", type=int, default=16, help="channels on the finest level (default: 16)")
    train.add_argument("--size", type=int, default=256, metavar="PIXELS", help="side of the pictures (default: 256)")
    train.add_argument(
        "--strength", type=float, default=1.0, help="how much drawings are spoiled at most, 0 to 1 (default: 1)"
    )
    train.add_argument(
        "--checkpoint", type=Path, metavar="PATH", help="also learn from what this pipeline folder or file draws"
    )
    train.add_argument("--tokenizer", metavar="PLACE", help="of a single file, which has none: folder or hub id")
    train.add_argument("--generated", type=int, default=512, metavar="N", help="outputs of it (default: 512)")
    train.add_argument(
        "--generated-share", type=float, default=0.5, help="share of examples that are its outputs (default: 0.5)"
    )
    train.add_argument("--sampling-steps", type=int, default=100, help="of each output (default: 100)")
    train.add_argument("--text-guidance", type=float, default=7.5, help="of each output (default: 7.5)")
    train.add_argument("--image-guidance", type=float, default=1.5, help="of each output (default: 1.5)")
    train.add_argument(
        "--guidance", choices=("ip2p", "official"), default="ip2p", help="formula of the two (default: ip2p)"
    )
    train.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="where to sample (default: cpu)")
    train.add_argument("--seed", type=int, default=0, help="of everything drawn (default: 0)")
    train.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="render.FIELD=VALUE",
        help="change how targets are drawn, as the trainer's --set does (repeatable; default: as the paper)",
    )
    return train.parse_args(arguments)
