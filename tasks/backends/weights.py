"""Weights of real backends: found in a local folder or on the hub, digested, and proven to be loaded whole.

Nothing is unpickled: safetensors, or ``torch.load(weights_only=True)`` where an option asks for an old file.
A network that keeps a randomly initialised tensor is refused, because its results look like results.
"""

import fnmatch
import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from catalog.digests import file_digest
from catalog.errors import BackendError
from tasks.phrases import one_line

HUB_PREFIX = "hf-hub:"
LOCAL_PREFIX = "local-dir:"

_HUB_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*/[A-Za-z0-9][A-Za-z0-9._-]*(@[A-Za-z0-9._/-]+)?")
FILE_SUFFIXES = {".bin", ".ckpt", ".json", ".npy", ".npz", ".onnx", ".pt", ".pth", ".safetensors"}
_HARMLESS = {"position_ids"}
"""Last names of buffers that older files hold and newer libraries compute: no tensor of a network."""

_digests: dict[tuple[str, int, int], str] = {}  # (path, bytes, time of change in ns) -> digest: a cache, no state


def resolve_weights(name: str, *, what: str, files: Sequence[str] | None = None, optional: Sequence[str] = ()) -> Path:
    """The local file or folder behind a ``weights`` option.

    A path that exists is taken as it is. Otherwise ``OWNER/NAME`` or ``OWNER/NAME@REVISION`` (``hf-hub:`` may
    stand before it) is a hub id: downloaded, or taken from the cache where ``HF_HUB_OFFLINE`` is set or the hub
    cannot be reached. ``local-dir:`` before a name, or a first folder that exists here, makes it a path only.

    Args:
        name: the option's value.
        what: begins every sentence: "replacer 'paint-by-example'".
        files: patterns, relative to the folder, each of which must match a file; only matches are downloaded.
            None: a single file or any folder will do, and a hub id brings its whole repository.
        optional: further patterns that are downloaded where the repository has them.

    Raises:
        BackendError: not found, not reachable or incomplete.
    """
    if not isinstance(name, str) or not name.strip():
        raise BackendError(
            f"{what} needs the option weights: a local path or a hub id such as owner/name. Got {name!r}"
        )
    place = _local(name, what) or _from_hub(name, what, files, optional)
    for pattern in files or ():
        if not place.is_dir() or not matching_files(place, [pattern]):
            raise BackendError(
                f"{what}: weights must be a folder that holds {pattern}, but {place} "
                f"{'has no such file' if place.is_dir() else 'is a file'}: give the folder of a complete download"
            )
    return place


def matching_files(folder: Path, patterns: Sequence[str] = ("*",)) -> list[Path]:
    """Files below ``folder`` whose relative path matches a pattern (``*`` also matches ``/``), sorted by path."""
    names = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    return [
        path for name, path in sorted(names.items()) if any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)
    ]


def weights_digest(path: Path, patterns: Sequence[str] = ("*",)) -> str:
    """SHA-256, 64 hexadecimal characters, of a file, or of the names and contents of a folder's matching files.

    Read once per process for each file as long as its size and time of change stay the same. Hidden files do
    not count.

    Raises:
        BackendError: nothing there, or not readable.
    """
    try:
        if not path.is_dir():
            return _file_digest(path)
        digest = hashlib.sha256()
        for file in matching_files(path, patterns):
            relative = file.relative_to(path)
            if not any(part.startswith(".") for part in relative.parts):
                digest.update(f"{relative.as_posix()} {_file_digest(file)}\n".encode())
        return digest.hexdigest()
    except OSError as error:
        raise BackendError(f"weights at {path} must be readable: {first_line(error)}") from error


def load_network(kind: Any, folder: Path, *, what: str, use_safetensors: bool = True, **options: Any) -> Any:
    """``kind.from_pretrained(folder)`` of diffusers or transformers, with proof that every tensor came from the file.

    Args:
        kind: the class.
        folder: the local folder that holds config.json and the weights.
        what: begins every sentence.
        use_safetensors: False takes .bin files, by ``torch.load(weights_only=True)``.
        options: further arguments of ``from_pretrained``, such as the type of numbers.

    Raises:
        BackendError: no file, a torn one, or a tensor missing, left over or of another shape.
    """
    from transformers.utils import logging

    logging.disable_progress_bar()  # transformers draws one per file that it reads
    try:
        network, report = kind.from_pretrained(
            str(folder), use_safetensors=use_safetensors, local_files_only=True, output_loading_info=True, **options
        )
    except Exception as error:  # the libraries raise nearly anything for a file that is not right
        form = "safetensors" if use_safetensors else "PyTorch file"
        raise BackendError(
            f"{what}: {folder} must hold a whole {kind.__name__} as {form}: {first_line(error)}"
        ) from error
    check_loaded(report, folder, what=what)
    _align(network)
    return network


def check_loaded(report: Mapping[str, Iterable[Any]], place: Path, *, what: str) -> None:
    """Refuse a network unless the file held exactly its tensors.

    Args:
        report: the ``output_loading_info`` of diffusers or transformers, or names by "missing_keys" and
            "unexpected_keys".
        place: file or folder, for the sentence.
        what: begins the sentence.
    """
    for problem in ("missing_keys", "unexpected_keys", "mismatched_keys", "error_msgs"):
        names = sorted(_name(entry) for entry in report.get(problem) or ())
        names = [name for name in names if name.rpartition(".")[2] not in _HARMLESS]
        if names:
            more = f" and {len(names) - 1} more" if len(names) > 1 else ""
            raise BackendError(
                f"{what}: {place} must hold exactly the tensors of its configuration, but has "
                f"{problem.replace('_', ' ')}: {names[0]}{more}; download it again"
            )


def check_device(device: str, *, what: str) -> str:
    """``device``, which must be "cpu" or "cuda" and there.

    Raises:
        BackendError: another name, or no CUDA device.
    """
    if device not in ("cpu", "cuda"):
        raise BackendError(f"{what}: device must be 'cpu' or 'cuda' (CUDA_VISIBLE_DEVICES chooses one). Got {device!r}")
    if device == "cuda":
        import torch

        if not torch.cuda.is_available():
            raise BackendError(f"{what}: device is 'cuda', but PyTorch sees no CUDA device here: use device = 'cpu'")
    return device


def first_line(error: BaseException) -> str:
    """An error's message on one line of at most 300 characters: its first line, or all where that ends in a colon."""
    text = str(error).strip()
    head = text.partition("\n")[0].rstrip()
    return (one_line(text) if head.endswith(":") else head)[:300] or type(error).__name__


def _align(network: Any) -> None:
    """Copy the tensors to memory of their own.

    Mapped from a file, they lie where its header left them, and matrix products round differently at odd addresses:
    two files with the same tensors would not give the same bytes.
    """
    for tensor in (*network.parameters(), *network.buffers()):
        tensor.data = tensor.data.clone()


def _name(entry: Any) -> str:
    return str(entry[0]) if isinstance(entry, tuple | list) else str(entry)


def _file_digest(path: Path) -> str:
    status = path.stat()
    key = (str(path.resolve()), status.st_size, status.st_mtime_ns)
    if key not in _digests:
        _digests[key] = file_digest(path)
    return _digests[key]


def _local(name: str, what: str) -> Path | None:
    """The path if it exists, None if ``name`` may be a hub id."""
    if name.startswith(HUB_PREFIX):
        return None
    path = Path(name.removeprefix(LOCAL_PREFIX)).expanduser()
    if path.exists():
        return path
    only_a_path = name.startswith(LOCAL_PREFIX) or path.suffix in FILE_SUFFIXES or not _HUB_ID.fullmatch(name)
    if only_a_path or Path(path.parts[0]).is_dir():
        raise BackendError(f"{what}: weights must be there, but there is no {path}: download them or mend the path")
    return None


def _from_hub(name: str, what: str, files: Sequence[str] | None, optional: Sequence[str]) -> Path:
    import huggingface_hub

    identity = name.removeprefix(HUB_PREFIX)
    if not _HUB_ID.fullmatch(identity):
        raise BackendError(f"{what}: a hub id is OWNER/NAME or OWNER/NAME@REVISION. Got {identity!r}")
    repository, _, revision = identity.partition("@")
    patterns = None if files is None else [*files, *optional]
    try:
        return Path(huggingface_hub.snapshot_download(repository, revision=revision or None, allow_patterns=patterns))
    except Exception as error:  # of the hub, of HTTP, of the system: all mean that the files are not here
        raise BackendError(
            f"{what}: weights must be a local path or a hub id that can be reached or is cached, got {name!r}: "
            f"give the path of a downloaded copy ({first_line(error)})"
        ) from error
