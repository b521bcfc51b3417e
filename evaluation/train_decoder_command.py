"""Train the U-Net that reads masks and joints from output images.

python -m evaluation train-decoder --mix catalog/mix.parquet --output runs/decoder.safetensors
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from catalog.progress_line import ProgressLine
from catalog.render_styles import RenderStyle
from catalog.workspace import Workspace


def main(arguments: Sequence[str]) -> int:
    """Train; exit status 0."""
    options = _parse(arguments)
    from evaluation.decoder_training import DecoderTraining, train_decoder
    from trainer.overrides import override

    names = ("batch_size", "learning_rate", "width", "size", "strength", "seed")
    training = DecoderTraining(num_steps=options.steps, **{name: getattr(options, name) for name in names})
    style = override(RenderStyle(), options.set, prefix="render.")
    with ProgressLine() as line:

        def show(done: int, total: int, loss: float) -> None:
            line.say(f"step {done} of {total}, loss {loss:.4f}", is_last=done == total)

        losses = train_decoder(options.mix, options.output, training, style, show)
    tenth = max(1, len(losses) // 10)
    first, last = (sum(part) / len(part) for part in (losses[:tenth], losses[-tenth:]))
    for what, value in (("loss, first tenth", f"{first:.4f}"), ("loss, last tenth", f"{last:.4f}")):
        sys.stdout.write(f"{what:18} {value}\n")
    sys.stdout.write(f"{'checkpoint':18} {options.output}\n")
    return 0


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
    train.add_argument("--seed", type=int, default=0, help="of everything drawn (default: 0)")
    train.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="render.FIELD=VALUE",
        help="change how targets are drawn, as the trainer's --set does (repeatable; default: as the paper)",
    )
    return train.parse_args(arguments)
