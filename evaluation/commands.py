"""Evaluate trained checkpoints and show the results.

    python -m evaluation run --checkpoint runs/demo/pipeline --mix catalog/mix.parquet --steps 10
    python -m evaluation run --checkpoint runs/demo/pipeline --benchmark refcoco_val --benchmark voc_val
    python -m evaluation run --control oracle --benchmark gopro_test
    python -m evaluation show --output runs/evaluation
    python -m evaluation benchmarks --json
    python -m evaluation train-decoder --mix catalog/mix.parquet --output runs/decoder.safetensors

Predicted images are kept: a run that was stopped goes on, and a finished one is read back in seconds.
"""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from catalog.errors import ConfigError, UserError
from catalog.progress_line import ProgressLine
from catalog.render_styles import RenderStyle
from catalog.schema import SPLITS
from catalog.store import read_shard
from catalog.workspace import Workspace
from evaluation.benchmarks import MIX_SPLITS, PAPER, Benchmark, PaperBenchmark, benchmark_mix, find_benchmark
from evaluation.predictions import CONTROLS
from evaluation.tables import print_benchmarks, print_rows

_PAPER_SIZE = 256
_PROFILE = Path(__file__).resolve().parents[1] / "infra" / "profiles" / "benchmarks.toml"
_EMBEDDED = {
    "pair_similarity": "histogram",
    "aesthetic_scorer": "image-statistics",
    "feature_similarity": "histogram",
    "perceptual_distance": "laplacian-pyramid",
}


def main(arguments: Sequence[str]) -> int:
    """Run one subcommand; exit status 0."""
    options = _parse(arguments)
    commands = {"run": _run, "show": _show, "benchmarks": _benchmarks, "train-decoder": _train_decoder}
    return commands[options.command](options)


def _run(options: argparse.Namespace) -> int:
    # Read by the libraries when they are imported, below.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("DIFFUSERS_VERBOSITY", "error")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    from evaluation.run import EvaluationOptions, evaluate, write_rows
    from trainer.overrides import override

    benchmarks = [find_benchmark(key) for key in dict.fromkeys(options.benchmark)]
    predictor, size = _load_predictor(options)
    helpers = _load_helpers(options.profile)
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


def _load_decoder(path: Path) -> Any:
    from evaluation.network_decoder import load_network_decoder

    return load_network_decoder(path)


def _train_decoder(options: argparse.Namespace) -> int:
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


def _default_mix(benchmark: PaperBenchmark | None) -> Path:
    catalog = Workspace.default().catalog
    return catalog / "mix.parquet" if benchmark is None else benchmark_mix(catalog, benchmark.key)


def _show(options: argparse.Namespace) -> int:
    path = options.output / "metrics.parquet"
    if not path.is_file():
        raise UserError(f"{options.output} holds no metrics.parquet: run `python -m evaluation run` first")
    paths = sorted((options.output / "evaluations").glob("*.parquet")) if options.all else [path]
    for place in paths:
        rows = read_shard(place).to_pylist()
        sys.stdout.write(f"{place}\n{_describe(rows)}\n")
        print_rows(rows)
    return 0


def _describe(rows: list[dict[str, Any]]) -> str:
    """Whose metrics these are, in one line."""
    checkpoint = next((row["checkpoint_sha256"] for row in rows if row["checkpoint_sha256"]), None) or "none"
    config = json.loads(rows[0]["config"]) if rows else {}
    facts = {
        "checkpoint": checkpoint[:12],
        "mix": rows[0]["mix_sha256"][:12] if rows else "none",
        **{name: config.get(name) for name in ("split", "size", "limit", "seed")},
        "steps": config.get("predictor", {}).get("num_steps"),
    }
    return ", ".join(f"{name} {value}" for name, value in facts.items() if value is not None)


def _benchmarks(options: argparse.Namespace) -> int:
    from tasks.profiles import read_profile

    roots = {source.dataset: Path(source.root) for source in read_profile(options.profile).sources}
    rows = [(benchmark, _data(benchmark, roots)) for benchmark in (*MIX_SPLITS, *PAPER)]
    if options.json:
        listed = [{**benchmark.as_dict(), "data": data, "present": data != "absent"} for benchmark, data in rows]
        sys.stdout.write(json.dumps(listed, indent=2) + "\n")
    else:
        print_benchmarks(rows)
    return 0


def _data(benchmark: Benchmark, roots: dict[str, Path]) -> str:
    """What is there of a benchmark's data: ``built``: a mix to evaluate on; ``on disk``: the dataset's folder."""
    catalog = Workspace.default().catalog
    key = benchmark.name.partition("/")[0]
    if benchmark.protocol == "crops":
        return "built" if (catalog / "mix.parquet").is_file() else "absent"
    if benchmark_mix(catalog, key).is_file():
        return "built"
    return "on disk" if key in roots and roots[key].is_dir() else "absent"


def _load_helpers(profile: Path | None) -> Any:
    """The backends that a profile names, or the embedded ones."""
    from evaluation.helper_models import HelperModels
    from tasks.backends.registry import load_backend
    from tasks.profiles import read_profile

    if profile is None:
        return HelperModels(**{role: load_backend(role, name) for role, name in _EMBEDDED.items()})
    chosen = read_profile(profile)
    missing = [role for role in _EMBEDDED if role not in chosen.backends]
    if missing:
        raise ConfigError(
            f"{profile} must name a {missing[0]} under [backends]: add one, such as {_EMBEDDED[missing[0]]!r}"
        )
    return HelperModels(
        **{
            role: load_backend(role, chosen.backends[role], **chosen.backend_options.get(role, {}))
            for role in _EMBEDDED
        }
    )


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    summary, _, rest = (__doc__ or "").partition("\n\n")
    plain = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(
        prog="python -m evaluation", description=summary, epilog=rest, formatter_class=plain
    )
    commands = parser.add_subparsers(dest="command", required=True)
    workspace = Workspace.default()
    output = workspace.runs / "evaluation"

    run = commands.add_parser("run", help="evaluate a checkpoint on held-out rows of a mix")
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
        default=output,
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

    _add_decoder_training(commands.add_parser("train-decoder", help="train the U-Net that reads masks and joints"))

    show = commands.add_parser("show", help="print stored metric rows")
    show.add_argument(
        "--output",
        type=Path,
        default=output,
        metavar="FOLDER",
        help="folder of a run (default: $IEIW_HOME/runs/evaluation)",
    )
    show.add_argument("--all", action="store_true", help="every finished evaluation there, not only the last")

    benchmarks = commands.add_parser("benchmarks", help="list benchmarks and the paper's values")
    benchmarks.add_argument("--json", action="store_true", help="as JSON")
    benchmarks.add_argument(
        "--profile",
        type=Path,
        default=_PROFILE,
        metavar="TOML",
        help="says where the datasets are (default: infra/profiles/benchmarks.toml)",
    )
    return parser.parse_args(arguments)


def _add_decoder_training(train: argparse.ArgumentParser) -> None:
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
