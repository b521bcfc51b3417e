"""Convert a checkpoint: any that training can start from, to a diffusers folder or to one file in the original layout.

python -m trainer.export runs/demo exported/pipeline
python -m trainer.export runs/demo/checkpoints/step-00000040 generalist.safetensors --half
python -m trainer.export v1-5-pruned-emaonly-adaption-task.ckpt exported/official --tokenizer /models/clip
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from catalog import command_line
from catalog.errors import ConfigError
from catalog.outputs import check_output_file
from trainer.config import TOKENIZER


def main(arguments: Sequence[str]) -> int:
    """Read, check and write; exit status 0."""
    summary, _, rest = (__doc__ or "").partition("\n\n")
    parser = argparse.ArgumentParser(
        prog="python -m trainer.export",
        description=summary,
        epilog=rest,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("model", help="diffusers folder, single file, run folder, checkpoint of a run, or hub id")
    parser.add_argument("output", type=Path, help="a folder, or a file named .safetensors")
    parser.add_argument("--tokenizer", default=TOKENIZER, help=f"for a single file, folder or hub id ({TOKENIZER})")
    parser.add_argument("--half", action="store_true", help="16-bit floats in the file (default: 32-bit)")
    options = parser.parse_args(arguments)
    _check(options.output, half=options.half)

    import torch

    from trainer.models import load_models
    from trainer.pipeline_folder import write_pipeline
    from trainer.single_file import write_single_file

    models = load_models(options.model, image_condition=None, tokenizer=options.tokenizer)
    if options.output.suffix == ".safetensors":
        dtype = torch.float16 if options.half else torch.float32
        write_single_file(options.output, (models.unet, models.autoencoder, models.text_encoder), dtype=dtype)
    else:
        write_pipeline(options.output, models)
    channels = models.unet.config.in_channels
    sys.stdout.write(
        f"model    {options.model}\nwritten  {options.output}\n"
        f"network  {sum(p.numel() for p in models.unet.parameters()):,} weights, {channels} input channels "
        f"({'edits images' if channels == 8 else 'text to image'})\n"
    )
    return 0


def _check(output: Path, *, half: bool) -> None:
    is_file = output.suffix == ".safetensors"
    if output.exists():
        raise ConfigError(f"the output must not exist yet, but {output} does: choose another name")
    check_output_file(output)  # a folder takes that place by the same rules
    if not is_file and output.suffix in (".ckpt", ".pt", ".pth", ".bin"):
        raise ConfigError(f"the output must be a folder or a .safetensors file, got {output}: pickles are not written")
    if half and not is_file:
        raise ConfigError("--half is for a .safetensors file; a pipeline folder is written with 32-bit floats")


if __name__ == "__main__":
    sys.exit(command_line.run(main))
