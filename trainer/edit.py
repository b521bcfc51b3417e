"""Edit an image by an instruction, or every row of a split of a mix.

    python -m trainer.edit photo.jpg "remove the red bird" --model runs/task_training
    python -m trainer.edit photo.jpg "mark the dog in blue" --model generalist.safetensors --guidance official
    python -m trainer.edit --catalog catalog/mix.parquet --split val --model runs/demo --output edits

A photo of any shape is resized so that its longer side is SIZE and both sides are multiples of 8; the edit is resized
back to the photo's own size. Pictures are written as PNG. Rows of a split are rendered as in training, square; their
edits are named by their number in the split, and the same command again makes those that are missing.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from catalog import command_line
from catalog.durable import write_file
from catalog.errors import ConfigError, UserError
from catalog.images import decode_image, encode_png, resize_image
from catalog.outputs import check_output_file, check_output_folder
from catalog.render_styles import RenderStyle
from catalog.roots import Roots
from catalog.samples import Sample, render_sample
from catalog.schema import SPLITS
from catalog.source_files import read_source_file
from trainer.config import LATENT_STRIDE, MIN_IMAGE_SIZE, TOKENIZER
from trainer.run_folder import write_json

if TYPE_CHECKING:
    from trainer.models import Models

MAX_SIZE = 2048
"""Pixels of the longer side; far beyond what Stable Diffusion v1 was trained at."""


def main(arguments: Sequence[str]) -> int:
    """Edit; exit status 0, or 1 where a row of the split could not be rendered."""
    options = _parse(arguments)
    if (options.image is None) == (options.catalog is None):
        raise ConfigError("give either an image with its instruction or --catalog, not both")
    if options.image is not None and options.instruction is None:
        raise ConfigError('an image needs an instruction: python -m trainer.edit IMAGE "remove the red bird"')
    if options.batch_size < 1:
        raise ConfigError(f"--batch-size must be 1 or more, got {options.batch_size}: 4 is the default")
    output = _check_output(options)
    photo = None if options.image is None else _read_photo(options.image)
    models = _load(options)
    size = options.size or models.unet.config.sample_size * LATENT_STRIDE
    if not MIN_IMAGE_SIZE <= size <= MAX_SIZE:
        raise ConfigError(f"--size must be from {MIN_IMAGE_SIZE} to {MAX_SIZE} pixels, got {size}: 512 is usual")
    if photo is None:
        return _edit_split(models, options, size, output)
    height, width = photo.shape[:2]
    shown = resize_image(photo, *working_size(width, height, size))
    (result,) = _edit(models, options, [shown], [options.instruction], [options.seed])
    write_file(output, [encode_png(resize_image(result, width, height))])
    sys.stdout.write(
        f"image        {options.image}, {width} x {height} pixels\n"
        f"edited at    {shown.shape[1]} x {shown.shape[0]}\nwritten      {output}\n"
    )
    return 0


def working_size(width: int, height: int, size: int) -> tuple[int, int]:
    """Width and height for the network: the longer side ``size``, both the nearest multiples of 8, at least 8."""
    scale = size / max(width, height)
    sides = (max(1, round(side * scale / LATENT_STRIDE)) * LATENT_STRIDE for side in (width, height))
    first, second = sides
    return first, second


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    from trainer.inference import IMAGE_GUIDANCE, NUM_STEPS, TEXT_GUIDANCE

    summary, _, rest = (__doc__ or "").partition("\n\n")
    parser = argparse.ArgumentParser(
        prog="python -m trainer.edit",
        description=summary,
        epilog=rest,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("image", type=Path, nargs="?", help="photo to edit")
    add("instruction", nargs="?", help="what to do, in words")
    add("--model", default="runs/task_training", help="folder, file, run or hub id (default: runs/task_training)")
    add("--tokenizer", default=TOKENIZER, help=f"where the model is a single file: folder or hub id ({TOKENIZER})")
    add("--output", type=Path, help="PNG file (default: IMAGE-edited.png); with --catalog a folder (default: edits)")
    add("--catalog", type=Path, metavar="MIX", help="edit the rows of a mix; roots.json must lie beside it")
    add("--split", default="val", choices=SPLITS, help="of the mix (default: val)")
    add("--limit", type=int, default=0, help="rows of the split at most; 0 = all (default)")
    add("--batch-size", type=int, default=4, help="rows edited together (default: 4)")
    add("--size", type=int, default=0, help="longer side in pixels (default: what the model was trained at)")
    add("--steps", type=int, default=NUM_STEPS, help=f"sampling steps (default: {NUM_STEPS})")
    add("--sampler", default="euler_ancestral", choices=("euler_ancestral", "ddim", "dpm_solver"), help="(%(default)s)")
    add("--guidance", default="ip2p", choices=("ip2p", "official"), help="rule of guidance (default: ip2p)")
    add("--text-guidance", type=float, default=TEXT_GUIDANCE, help="scale (default: %(default)s)")
    add("--image-guidance", type=float, default=IMAGE_GUIDANCE, help="scale (default: %(default)s)")
    add("--seed", type=int, default=0, help="of the noise; row n of a split takes seed + n (default: 0)")
    add("--device", default="auto", choices=("auto", "cpu", "cuda"), help="(default: auto, the GPU where there is one)")
    return parser.parse_args(arguments)


def _check_output(options: argparse.Namespace) -> Path:
    """Where edits go: before models are loaded."""
    if options.image is None:
        return check_output_folder(options.output or Path("edits"))
    output: Path = options.output or Path(f"{options.image.stem}-edited.png")
    if output.suffix.lower() != ".png":
        raise ConfigError(f"--output must be named .png, as edits are written without loss, got {output}")
    return check_output_file(output)


def _read_photo(path: Path) -> np.ndarray:
    try:
        return decode_image(read_source_file(path.parent, path.name))
    except UserError as error:
        raise ConfigError(f"the image must be a photo that can be read, but {path} is {error}") from error


def _load(options: argparse.Namespace) -> "Models":
    from trainer.models import load_models
    from trainer.ranks import pick_device

    device = pick_device(options.device)
    return load_models(options.model, image_condition=None, tokenizer=options.tokenizer).to(device)


def _edit(
    models: "Models",
    options: argparse.Namespace,
    images: Sequence[np.ndarray],
    instructions: Sequence[str],
    seeds: Sequence[int],
) -> list[np.ndarray]:
    from trainer.inference import edit

    return edit(
        models,
        images,
        instructions,
        num_steps=options.steps,
        text_guidance=options.text_guidance,
        image_guidance=options.image_guidance,
        guidance=options.guidance,
        sampler=options.sampler,
        seed=seeds,
    )


def _edit_split(models: "Models", options: argparse.Namespace, size: int, folder: Path) -> int:
    _keep_options(folder, options, size)
    rejected: list[dict[str, Any]] = []
    done: list[dict[str, Any]] = []
    numbered = _samples(options, size, rejected)
    while batch := list(islice(numbered, options.batch_size)):
        missing = [(number, sample) for number, sample in batch if not _picture(folder, number).exists()]
        results = _edit(
            models,
            options,
            [sample.source for _, sample in missing],
            [sample.instruction for _, sample in missing],
            [options.seed + number for number, _ in missing],
        )
        for (number, _), result in zip(missing, results, strict=True):
            write_file(_picture(folder, number), [encode_png(result)])
        done += [
            {"file": _picture(folder, number).name, "pair_id": sample.pair_id, "instruction": sample.instruction}
            for number, sample in batch
        ]
        sys.stdout.write(f"{len(done)} edits\n")
        sys.stdout.flush()
    if not done and not rejected:
        raise ConfigError(f"--split must be one that {options.catalog} has rows of, got {options.split}: try train")
    write_json(folder / "edits.json", {"edits": done, "rejected": rejected})
    sys.stdout.write(f"edits     {len(done)}\nrejected  {len(rejected)}\nfolder    {folder}\n")
    return 1 if rejected else 0


def _samples(options: argparse.Namespace, size: int, rejected: list[dict[str, Any]]) -> Iterator[tuple[int, Sample]]:
    """Rows of the split as rendered samples, numbered; what cannot be rendered goes to ``rejected``."""
    from trainer.split_rows import split_rows

    roots = Roots.read(options.catalog.parent / "roots.json")
    style = RenderStyle().at_size(size // LATENT_STRIDE * LATENT_STRIDE)
    for number, row in enumerate(islice(split_rows(options.catalog, options.split), options.limit or None)):
        try:
            yield number, render_sample(row, roots, seed=options.seed, index=number, options=style)
        except UserError as error:
            rejected.append({"number": number, "pair_id": row["pair_id"], "reason": str(error)})


def _picture(folder: Path, number: int) -> Path:
    return folder / f"{number:06d}.png"


def _keep_options(folder: Path, options: argparse.Namespace, size: int) -> None:
    """Edits of other options must not be mixed: the folder says which it holds."""
    names = ("model", "catalog", "split", "steps", "sampler", "guidance", "text_guidance", "image_guidance", "seed")
    value = {name: str(getattr(options, name)) for name in names} | {"size": str(size)}
    path = folder / "options.json"
    if path.is_file():
        try:
            kept = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise ConfigError(f"{path} is not what was written ({error}): choose another --output") from error
        if kept != value:
            raise ConfigError(f"{folder} holds edits made with other options ({path}): choose another --output")
        return
    folder.mkdir(parents=True, exist_ok=True)
    write_json(path, value)


if __name__ == "__main__":
    sys.exit(command_line.run(main))
