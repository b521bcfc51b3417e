"""Train the generalist on a mix.

    torchrun trainer/main.py --catalog catalog/mix.parquet
    torchrun --nproc_per_node=2 trainer/main.py --catalog catalog/mix.parquet --output runs/demo
    python -m trainer.main --catalog catalog/mix.parquet --recipe paper --set micro_batch_size=32

Run the same command again to resume; a finished run is left as it is. SIGTERM writes a checkpoint and stops.
"""

import argparse
import json
import os
import sys
import textwrap
import time
from collections.abc import Sequence
from pathlib import Path

from catalog import command_line
from catalog.errors import UserError
from catalog.outputs import check_output_folder
from catalog.workspace import Workspace
from trainer.config import TrainingConfig
from trainer.overrides import field_descriptions, flat_values
from trainer.recipes import RECIPES, make_config
from trainer.run_folder import Finished, RunFolder

_FIRST_RANK_SPEAKS_FIRST = 20.0
"""Seconds that other ranks wait before they report an error: torchrun ends them when the first rank has failed."""


def main(arguments: Sequence[str]) -> int:
    """Train; exit status 0, also when SIGTERM stopped it after a checkpoint."""
    options = _parse(arguments)
    try:
        return _train(options)
    except Exception as error:
        if _rank() > 0:
            time.sleep(_FIRST_RANK_SPEAKS_FIRST)
        _tell_torchrun(error)
        raise


def _train(options: argparse.Namespace) -> int:
    config = make_config(options.recipe).with_overrides(options.set)
    folder = RunFolder(check_output_folder(options.output or Workspace.default().runs / config.recipe))
    from catalog.parquet_streams import mix_digest

    done = folder.read_finished(config, mix_digest(options.catalog))
    if done is None:
        command_line.hush_libraries()
        from trainer.loop import train

        done = train(config, options.catalog, folder, may_resume=options.resume == "auto")
    elif _rank() == 0:
        sys.stdout.write("already finished: nothing to do\n")
    if _rank() == 0:
        _show_end(done, folder)
    return 0


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    summary, _, rest = (__doc__ or "").partition("\n\n")
    parser = argparse.ArgumentParser(
        prog="torchrun trainer/main.py",
        description=summary,
        epilog=f"{rest}\nrecipes and the fields of --set, with the demo's values:\n\n{_field_help()}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--catalog", type=Path, required=True, metavar="MIX", help="mix.parquet; roots.json must lie beside it"
    )
    parser.add_argument("--recipe", default="demo", help=f"{', '.join(RECIPES)} (default: demo)")
    parser.add_argument("--output", type=Path, help="run folder (default: $IEIW_HOME/runs/RECIPE)")
    parser.add_argument("--set", action="append", default=[], metavar="FIELD=VALUE", help="change a field (repeatable)")
    parser.add_argument(
        "--resume",
        choices=("auto", "never"),
        default="auto",
        help="auto: go on from the newest checkpoint; never: refuse a folder that has one (default: auto)",
    )
    return parser.parse_args(arguments)


def _field_help() -> str:
    demo = flat_values(make_config("demo").to_json())
    wrap = textwrap.TextWrapper(width=100, initial_indent=" " * 6, subsequent_indent=" " * 6)
    return "\n".join(
        f"  {name}={demo[name]}\n{wrap.fill(text)}" for name, text in field_descriptions(TrainingConfig).items()
    )


def _show_end(figures: Finished | None, folder: RunFolder) -> None:
    if figures is None:
        sys.stdout.write(f"stopped after a checkpoint in {folder.checkpoints}; run the same command to go on\n")
        return
    rows = {
        "steps": f"{figures.steps}",
        "samples seen": f"{figures.samples_seen}",
        "loss": f"{figures.loss_first:.4f} -> {figures.loss_last:.4f} (means of the first and last tenth)",
        "training time": f"{figures.seconds:.1f} s",
        "log": f"{folder.log}",
        "pipeline": f"{folder.pipeline}",
    }
    width = max(map(len, rows))
    sys.stdout.writelines(f"{name:{width}}  {value}\n" for name, value in rows.items())


def _rank() -> int:
    return int(os.environ.get("RANK", "0"))


def _tell_torchrun(error: Exception) -> None:
    """Give torchrun the sentence for its failure report, which comes last on the terminal."""
    file = os.environ.get("TORCHELASTIC_ERROR_FILE")
    if file and isinstance(error, UserError | OSError):
        details = {"py_callstack": f"error: {error}", "timestamp": str(int(time.time()))}
        report = {"message": {"message": str(error), "extraInfo": details}}
        Path(file).write_text(json.dumps(report), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(command_line.run(main))
