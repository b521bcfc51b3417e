"""Encode a mix once: the latent and text cache that training with --set latents=use reads.

    python -m trainer.encode --catalog catalog/mix.parquet --recipe task_training
    python -m trainer.encode --catalog catalog/mix.parquet --recipe demo --set model=runs/demo/tiny_model

Rows whose picture and words are the same each time they are drawn (given targets, shown whole, with an instruction of
their own) are encoded by the frozen autoencoder and text encoder into the table ``latents``; others stay online. Give
the --recipe and --set of the training run. The same command again keeps what is there.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from catalog import command_line
from catalog.errors import ConfigError
from catalog.roots import Roots
from catalog.workspace import Workspace
from trainer.config import TINY_MODEL
from trainer.recipes import RECIPES, make_config


def main(arguments: Sequence[str]) -> int:
    """Encode; exit status 0, or 1 where a row could not be rendered."""
    summary, _, rest = (__doc__ or "").partition("\n\n")
    parser = argparse.ArgumentParser(
        prog="python -m trainer.encode",
        description=summary,
        epilog=rest,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--catalog", type=Path, required=True, metavar="MIX", help="mix.parquet; roots.json beside it")
    parser.add_argument("--recipe", default="demo", help=f"{', '.join(RECIPES)} (default: demo)")
    parser.add_argument("--set", action="append", default=[], metavar="FIELD=VALUE", help="change a field (repeatable)")
    options = parser.parse_args(arguments)
    config = make_config(options.recipe).with_overrides(options.set)
    if config.model == TINY_MODEL:
        raise ConfigError(
            "model must be a checkpoint that exists, got 'tiny', which each run makes anew: "
            "give that of a run, --set model=runs/demo/tiny_model, here and to the training run"
        )
    if not config.image_condition:
        raise ConfigError("stage pretraining_adaptation draws each picture anew: there is nothing to encode before")
    from catalog.parquet_streams import mix_digest
    from trainer.latent_cache import cache_key, write_cache
    from trainer.models import frozen_digest, load_models
    from trainer.ranks import pick_device
    from trainer.split_rows import split_rows

    mix_digest(options.catalog)  # says clearly that there is no such file
    workspace, roots = Workspace.default(), Roots.read(options.catalog.parent / "roots.json")
    models = load_models(config.model, tokenizer=config.tokenizer).to(pick_device(config.device))
    key = cache_key(models, frozen_digest(models), config)
    shards = []
    for shard in write_cache(workspace, split_rows(options.catalog, "train"), roots, models, key, config.render):
        shards.append(shard)
        sys.stdout.write(f"{sum(one.num_rows for one in shards)} rows\n")
        sys.stdout.flush()
    rows, usable = sum(shard.num_rows for shard in shards), sum(shard.num_usable for shard in shards)
    size = rows * key.record_bytes / 2**30
    sys.stdout.write(
        f"encoded   {usable} rows, {size:.2f} GiB\nrejected  {rows - usable}\nmanifest  {key.name}\n"
        f"use it    --set latents=use\n"
    )
    return 1 if usable < rows else 0


if __name__ == "__main__":
    sys.exit(command_line.run(main))
