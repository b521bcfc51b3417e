"""The weight files of each real backend: is every one there, whole, and the published one where that is known?

Looks only; nothing is loaded and nothing downloaded. Every file that is not right is named, not only the first.
"""

import hashlib
import json
import re
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tasks.backends.lama import BIG_LAMA_MD5
from tasks.backends.weights import FILE_SUFFIXES, HUB_PREFIX, LOCAL_PREFIX, matching_files

_CHUNK = 1 << 20
_MAX_HEADER = 100 << 20  # bytes of a safetensors header: the library's own limit
_MAX_INDEX = 64 << 20
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+(@[\w./-]+)?")
_SHA256 = re.compile(r"[0-9a-f]{64}")

PUBLISHED = {
    "sac+logos+ava1-l14-linearMSE.pth": "21dd590f3ccdc646f0d53120778b296013b096a035a2718c9cb0d511bff0f1e0",
    "sa_0_4_vit_b_16_linear.pth": "8ad3923d7ecf019df20ecd2ab5542a3075fbba0278d239c0371345f3d7fcbde0",
    "sa_0_4_vit_b_32_linear.pth": "c7b14cead230694acc7b9447974d3cad78003c72da032e402a303b6c2429e85f",
    "sa_0_4_vit_l_14_linear.pth": "2cd4e60f4f24ae3bcd57b847b13c1f3ba27edc28cc1a7f9ce74ee9f421243cba",
}
"""SHA-256 of files as published (christophschuhmann/improved-aesthetic-predictor 6934dd8, LAION-AI/aesthetic-predictor
6d122ad), by the name that they were published under. LaMa's MD5 is the backend's own option."""

_CLIP = (
    ("open_clip_config.json",),
    (
        "open_clip_model.safetensors",
        "open_clip_pytorch_model.safetensors",
        "model.safetensors",
        "open_clip_pytorch_model.bin",
        "open_clip_pytorch_model.pt",
        "pytorch_model.bin",
    ),
)
_TOKENIZER = ("tokenizer.json", "tokenizer.model", "vocab.json")
_TEXT_WEIGHTS = ("model.safetensors", "model.safetensors.index.json")
_PARTS = {"unet": "diffusion_pytorch_model", "vae": "diffusion_pytorch_model", "image_encoder": "model"}

FOLDERS: dict[str, tuple[tuple[str, ...], ...]] = {
    "open-clip": _CLIP,
    "laion-linear": _CLIP,
    "laion-mlp": _CLIP,
    "blip2": (
        ("config.json",),
        ("preprocessor_config.json", "processor_config.json"),
        _TOKENIZER,
        _TEXT_WEIGHTS,
    ),
    "dino": (("config.json",), ("model.safetensors", "pytorch_model.bin")),
    "transformers": (("config.json",), ("tokenizer_config.json",), _TOKENIZER, _TEXT_WEIGHTS),
    "paint-by-example": (
        *((f"{part}/config.json",) for part in _PARTS),
        ("scheduler/scheduler_config.json",),
        ("feature_extractor/preprocessor_config.json",),
        *(
            (f"{part}/{stem}.safetensors", f"{part}/{stem}.fp16.safetensors", f"{part}/{stem}.bin")
            + ((f"{part}/pytorch_model.bin",) if part == "image_encoder" else ())
            for part, stem in _PARTS.items()
        ),
    ),
}
"""Backend to the files of its folder, each as the names that will do."""

_CLIP_AT = "`hf download timm/vit_large_patch14_clip_224.openai --local-dir FOLDER`"
PUBLISHED_AT = {
    "lama": "https://github.com/Sanster/models/releases/download/add_big_lama/big-lama.pt",
    "open-clip": _CLIP_AT,
    "laion-linear": f"the head github.com/LAION-AI/aesthetic-predictor, the model {_CLIP_AT}",
    "laion-mlp": f"the head github.com/christophschuhmann/improved-aesthetic-predictor, the model {_CLIP_AT}",
    "dino": "`hf download facebook/dino-vits16 --local-dir FOLDER`",
    "lpips": "the classifier download.pytorch.org/models, the heads github.com/richzhang/PerceptualSimilarity",
    "blip2": "`hf download Salesforce/blip2-opt-2.7b --local-dir FOLDER`",
    "paint-by-example": "`hf download Fantasy-Studio/Paint-by-Example --local-dir FOLDER`",
}
"""Where the weights of the paper's models are published."""

USUAL_BYTES = {
    "lama": 50 << 20,
    "open-clip": 50 << 20,
    "laion-linear": 50 << 20,
    "laion-mlp": 50 << 20,
    "dino": 20 << 20,
    "lpips": 2 << 20,
    "blip2": 1 << 30,
    "transformers": 100 << 20,
    "paint-by-example": 1 << 30,
}
"""Weights smaller than this are no published model of the kind: what is known of those cannot be asked of them."""


@dataclass
class FileReport:
    """What was found of one backend's weights."""

    problems: list[str] = field(default_factory=list)
    """One sentence per file that is missing or wrong, with the remedy."""
    files: list[Path] = field(default_factory=list)
    num_checked: int = 0
    """Files whose digest was compared with a known one."""

    @property
    def num_bytes(self) -> int:
        """Bytes of the files that are there."""
        return sum(file.stat().st_size for file in self.files)


def check_files(name: str, options: Mapping[str, Any]) -> FileReport:
    """The files behind a backend's options, as a profile gives them. A backend without weights has none."""
    report = FileReport()
    if name == "lama":
        _check_lama(options, report)
    elif name == "lpips":
        for option in ("weights", "heads"):
            _check_single(str(options.get(option, "")), option, report)
    elif name in FOLDERS:
        if name.startswith("laion-"):
            _check_single(str(options.get("head", "")), "head", report)
        if not options.get("model"):  # else: a single file, or a tag that open_clip finds itself
            _check_folder(str(options.get("weights", "")), FOLDERS[name], report)
        elif Path(str(options.get("weights", ""))).suffix:
            _check_single(str(options["weights"]), "weights", report)
    for file in report.files:
        _check_file(file, report)
    if place := PUBLISHED_AT.get(name):
        report.problems = [f"{problem}; published: {place}" for problem in report.problems]
    return report


def _check_lama(options: Mapping[str, Any], report: FileReport) -> None:
    place = _place(str(options.get("weights", "")), "weights", report)
    if place is None:
        return
    file = place if place.is_file() else place / str(options.get("file", "big-lama.pt"))
    if not file.is_file():
        report.problems.append(f"{file} is missing: download big-lama.pt into {place}")
        return
    report.files.append(file)
    wanted, found = str(options.get("md5", BIG_LAMA_MD5)).lower(), _digest(file, "md5")
    report.num_checked += 1
    if found != wanted:
        report.problems.append(
            f"{file} has MD5 {found}, not {wanted}: download it again, or name its MD5 in the option md5"
        )


def _check_single(name: str, option: str, report: FileReport) -> None:
    place = _place(name, option, report)
    if place is None:
        return
    files = [place] if place.is_file() else matching_files(place, ["*.safetensors", "*.pth", "*.pt"])
    if not files:
        report.problems.append(f"{place} holds no weight file: download it there, or name the file in {option}")
    report.files += files


def _check_folder(name: str, wanted: Sequence[Sequence[str]], report: FileReport) -> None:
    place = _place(name, "weights", report, "with " + ", ".join(choices[0] for choices in wanted))
    if place is None:
        return
    if place.is_file():
        report.problems.append(f"{place} is a file: give the folder of a complete download")
        return
    for choices in wanted:
        found = [place / choice for choice in choices if (place / choice).is_file()]
        if not found:
            others = f" (or {', '.join(choices[1:])})" if choices[1:] else ""
            report.problems.append(f"{place / choices[0]} is missing{others}: complete the download into {place}")
        report.files += found[:1]
        for file in found[:1]:
            if file.name.endswith(".index.json"):
                _add_parts(file, report)


def _add_parts(index: Path, report: FileReport) -> None:
    """The files that a sharded checkpoint's index names."""
    try:
        value = json.loads(index.read_bytes()[:_MAX_INDEX])
        names = sorted({str(name) for name in value["weight_map"].values()})
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        report.problems.append(f"{index} is not an index of weights ({type(error).__name__}): download it again")
        return
    for name in names:
        file = index.parent / Path(name).name
        if file.is_file():
            report.files.append(file)
        else:
            report.problems.append(f"{file} is missing, which {index.name} names: complete the download")


def _place(name: str, option: str, report: FileReport, needed: str = "") -> Path | None:
    """The file or folder behind an option; a hub id from the hub's cache alone. ``needed`` names what it must hold."""
    plain = name.removeprefix(LOCAL_PREFIX).removeprefix(HUB_PREFIX)
    path = Path(plain).expanduser()
    if not plain:
        report.problems.append(f"the option {option} is missing: give a local path or a hub id")
        return None
    if path.exists() and not name.startswith(HUB_PREFIX):
        return path
    is_path = name.startswith(LOCAL_PREFIX) or path.suffix in FILE_SUFFIXES
    may_be_id = not is_path and _HUB_ID.fullmatch(plain)
    cached = _cached(plain) if may_be_id else None
    if cached is None:
        cache = " here, nor in the hub's cache" if may_be_id else ""
        needs = f" ({needed})" if needed else ""
        report.problems.append(f"{path} is missing{cache}{needs}: download it there, or mend the option {option}")
    return cached


def _cached(identity: str) -> Path | None:
    import huggingface_hub

    repository, _, revision = identity.partition("@")
    try:
        return Path(huggingface_hub.snapshot_download(repository, revision=revision or None, local_files_only=True))
    except Exception:  # of many kinds, all meaning: not in the cache
        return None


def _check_file(file: Path, report: FileReport) -> None:
    """Whether a file is whole, and the one that it must be where that is known."""
    if file.suffix == ".safetensors":
        report.problems += _safetensors_faults(file)
    if file.suffix == ".json":
        try:
            json.loads(file.read_bytes()[:_MAX_INDEX])
        except ValueError:
            report.problems.append(f"{file} is not JSON: download it again")
    wanted = PUBLISHED.get(file.name)
    blob = file.resolve().name if file.is_symlink() else ""  # the hub's cache names large files by their digest
    wanted = blob if _SHA256.fullmatch(blob) else wanted
    if wanted is not None:
        report.num_checked += 1
        if (found := _digest(file, "sha256")) != wanted:
            report.problems.append(f"{file} has SHA-256 {found}, not {wanted}: download it again")


def _safetensors_faults(file: Path) -> list[str]:
    """A safetensors file says in its header how long it must be."""
    size = file.stat().st_size
    with file.open("rb") as stream:
        start = stream.read(8)
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else _MAX_HEADER + 1
        header = stream.read(length) if length <= _MAX_HEADER else b""
    try:
        tensors = {name: entry for name, entry in json.loads(header).items() if name != "__metadata__"}
        wanted = 8 + length + max((entry["data_offsets"][1] for entry in tensors.values()), default=0)
    except (ValueError, KeyError, TypeError, AttributeError, IndexError):
        return [f"{file} is not a safetensors file: download it again"]
    return [] if size == wanted else [f"{file} has {size} bytes, not {wanted}: download it again"]


def _digest(file: Path, kind: str) -> str:
    digest = hashlib.new(kind, usedforsecurity=False)
    with file.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
