"""Loads open_clip models once per process, with every tensor from the file and the activation it was trained with."""

import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from catalog.errors import BackendError
from tasks.backends.protocols import Image
from tasks.backends.weights import LOCAL_PREFIX, check_device, check_loaded, first_line, resolve_weights, weights_digest

_CONFIG = "open_clip_config.json"
_SAFE_FILES = ("open_clip_model.safetensors", "open_clip_pytorch_model.safetensors", "model.safetensors")
_TORCH_FILES = ("open_clip_pytorch_model.bin", "open_clip_pytorch_model.pt", "pytorch_model.bin")
_TOKENIZER_FILES = ("tokenizer*", "vocab*", "merges.txt", "special_tokens_map.json", "*.spm", "sentencepiece*")

_lock = threading.Lock()
_loaded: dict[tuple[str, ...], "Clip"] = {}  # one copy of the weights per process, whoever asks


@dataclass(frozen=True)
class Clip:
    """A loaded model. Features are float32 (N, D) of length 1."""

    network: Any
    transform: Callable[[Any], Any]
    architecture: str
    """open_clip's name of it, or ``local-dir:`` and its folder."""
    device: str
    digest: str
    """SHA-256 of the weights and, of a folder, its configuration."""
    options: Mapping[str, str]
    """What else the features depend on."""

    @property
    def num_features(self) -> int:
        """D."""
        return int(self.network.visual.output_dim)

    def preprocess(self, image: Image) -> NDArray[np.float32]:
        """(H, W, 3) -> float32 (3, S, S): the model's own resizing, central crop and normalization."""
        from PIL import Image as pillow

        prepared: NDArray[np.float32] = self.transform(pillow.fromarray(image)).numpy()
        return prepared

    def squeeze(self, image: Image) -> NDArray[np.float32]:
        """(H, W, 3) -> float32 (3, S, S): resized whole and bicubic, without anti-aliasing, then normalized.

        The official code of InstructPix2Pix, metrics/clip_similarity.py, with images in [0, 1].
        """
        import torch

        settings = self.network.visual.preprocess_cfg
        pixels = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)[None].float() / 255
        size = self.network.visual.image_size
        square = (size, size) if isinstance(size, int) else tuple(size)
        resized = torch.nn.functional.interpolate(pixels, size=square, mode="bicubic", align_corners=False)[0]
        mean, std = (torch.tensor(settings[name])[:, None, None] for name in ("mean", "std"))
        prepared: NDArray[np.float32] = ((resized - mean) / std).numpy()
        return prepared

    def encode_images(self, pixels: NDArray[np.float32]) -> NDArray[np.float32]:
        """(N, 3, S, S), preprocessed -> features."""
        return self._encode(self.network.encode_image, pixels)

    def encode_tokens(self, tokens: NDArray[np.integer]) -> NDArray[np.float32]:
        """(N, context length) token ids -> features."""
        return self._encode(self.network.encode_text, tokens)

    def load_tokenizer(self, *, what: str) -> Callable[[list[str]], Any]:
        """The model's tokenizer: texts -> ids (N, context length), longer texts cut off.

        Raises:
            BackendError: the model needs a tokenizer whose files are not there.
        """
        import open_clip

        try:
            tokenizer: Callable[[list[str]], Any] = open_clip.get_tokenizer(self.architecture)
        except Exception as error:  # the libraries raise nearly anything for a file that is not right
            raise BackendError(
                f"{what}: the tokenizer of {self.architecture} must be there: {first_line(error)}"
            ) from error
        return tokenizer

    def _encode(self, encode: Callable[[Any], Any], values: NDArray[Any]) -> NDArray[np.float32]:
        import torch

        with torch.inference_mode():
            features = encode(torch.from_numpy(values).to(self.device)).float().cpu().numpy().astype(np.float64)
        unit: NDArray[np.float32] = (features / np.linalg.norm(features, axis=1, keepdims=True)).astype(np.float32)
        return unit


@dataclass(frozen=True)
class _Place:
    """Where a model's parts are."""

    architecture: str
    file: Path
    digested: Path
    patterns: tuple[str, ...]
    tag: Mapping[str, Any]
    """open_clip's own entry of the tag; empty for files and folders."""


def load_clip(weights: str, model: str, quick_gelu: bool | None, device: str, *, what: str) -> Clip:
    """The model, loaded once per process.

    Args:
        weights: a folder or hub id that holds open_clip_config.json, a weight file, or a tag of ``model``: "openai".
        model: open_clip's name of the architecture, "ViT-L-14-quickgelu"; empty where the folder says it.
        quick_gelu: whether the activation is QuickGELU; None: as the architecture says. OpenAI's weights need it,
            and the same image gets another score without it.
        device: "cpu" or "cuda".
        what: begins every sentence: "embedder 'open-clip'".

    Raises:
        BackendError: not found, torn, of another architecture or with another activation.
    """
    check_device(device, what=what)
    if quick_gelu is not None and not isinstance(quick_gelu, bool):
        raise BackendError(f"{what}: quick_gelu must be true or false. Got {quick_gelu!r}")
    place = _find(weights, model, quick_gelu, what)
    activation = _check_activation(place.architecture, place.tag, weights, quick_gelu, what)
    digest = weights_digest(place.digested, place.patterns)
    tag = weights if place.tag else ""
    key = (place.architecture, tag, str(place.file.resolve()), digest, str(activation), device)
    with _lock:
        if key not in _loaded:
            network = _build(place, activation, what)
            _fill(network, place.file, what)
            options = {name: value for name, value in (("model", model), ("tag", tag)) if value}
            options["quick_gelu"] = str(activation).lower()
            _loaded[key] = _as_clip(network.to(device).eval(), place, device, digest, options)
        return _loaded[key]


def _find(weights: str, model: str, quick_gelu: bool | None, what: str) -> _Place:
    import open_clip

    if model and model not in open_clip.list_models():
        raise BackendError(f"{what}: model must be one of open_clip's names, such as ViT-L-14-quickgelu. Got {model!r}")
    tag = dict(open_clip.get_pretrained_cfg(model, weights)) if model and isinstance(weights, str) else {}
    if tag:
        _check_activation(model, tag, weights, quick_gelu, what)  # before gigabytes are downloaded
        return _find_tag(tag, weights, model, what)
    place = resolve_weights(weights, what=what, files=None if model else [_CONFIG], optional=_wanted(_SAFE_FILES))
    if place.is_file():
        return _Place(architecture=model, file=place, digested=place, patterns=("*",), tag={})
    if model and (place / _CONFIG).is_file():
        raise BackendError(f"{what}: {place} says its architecture in {_CONFIG}: leave out the option model")
    file = _weight_file(place, weights, what)
    if model:
        return _Place(architecture=model, file=file, digested=file, patterns=("*",), tag={})
    return _Place(
        architecture=f"{LOCAL_PREFIX}{place.resolve()}",
        file=file,
        digested=place,
        patterns=(_CONFIG, file.name, *_TOKENIZER_FILES),
        tag={},
    )


def _find_tag(tag: Mapping[str, Any], weights: str, model: str, what: str) -> _Place:
    repository, _, name = str(tag.get("hf_hub", "")).rpartition("/")
    if not repository:
        raise BackendError(f"{what}: open_clip knows {weights!r} of {model} by an address only: download it yourself")
    folder = resolve_weights(f"hf-hub:{repository}", what=what, files=[name] if name else [], optional=_SAFE_FILES)
    file = folder / name if name else _weight_file(folder, f"hf-hub:{repository}", what)
    return _Place(architecture=model, file=file, digested=file, patterns=("*",), tag=tag)


def _wanted(weight_files: tuple[str, ...]) -> list[str]:
    return [_CONFIG, *weight_files, *_TOKENIZER_FILES]


def _weight_file(folder: Path, weights: str, what: str) -> Path:
    for names in (_SAFE_FILES, _TORCH_FILES):
        for name in names:
            if (folder / name).is_file():
                return folder / name
        if names == _SAFE_FILES and not Path(weights.removeprefix(LOCAL_PREFIX)).is_dir():
            folder = resolve_weights(weights, what=what, files=[], optional=_wanted(_TORCH_FILES))
    raise BackendError(
        f"{what}: {folder} must hold the weights as one of {', '.join((*_SAFE_FILES, *_TORCH_FILES))}: "
        "give the folder of a complete download"
    )


def _check_activation(
    architecture: str, tag: Mapping[str, Any], weights: str, quick_gelu: bool | None, what: str
) -> bool:
    """Whether the model uses QuickGELU; refused where its weights are known to have been trained otherwise."""
    import open_clip

    try:
        config = open_clip.get_model_config(architecture)
    except Exception as error:  # the library raises nearly anything for a file that is not right
        raise BackendError(f"{what}: {_CONFIG} must be open_clip's configuration: {first_line(error)}") from error
    if not isinstance(config, dict):
        raise BackendError(f"{what}: {_CONFIG} must hold open_clip's model_cfg. Got {config!r:.80}")
    says = bool(config.get("quick_gelu", False))
    used = says if quick_gelu is None else quick_gelu
    name = Path(weights).name.lower()
    needed = bool(tag["quick_gelu"]) if "quick_gelu" in tag else None
    needed = True if "openai" in name else needed
    if needed is not None and used != needed:
        raise BackendError(
            f"{what}: the weights {weights!r} were trained {'with' if needed else 'without'} QuickGELU, but the model "
            f"would run {'with' if used else 'without'} it: set quick_gelu = {str(needed).lower()}"
        )
    return used


def _build(place: _Place, quick_gelu: bool, what: str) -> Any:
    """The network with random weights, which `_fill` replaces."""
    import open_clip

    preprocess = {
        name: place.tag[name] for name in ("mean", "std", "interpolation", "resize_mode") if name in place.tag
    }
    try:
        with _without_notice():
            return open_clip.create_model(
                place.architecture,
                load_weights=False,
                pretrained_text=False,
                force_preprocess_cfg=preprocess,
                quick_gelu=quick_gelu,
            )
    except Exception as error:  # the library raises nearly anything for a configuration that is not right
        raise BackendError(f"{what}: {place.architecture} must be an open_clip model: {first_line(error)}") from error


def _fill(network: Any, file: Path, what: str) -> None:
    """Put the file's tensors in place of the random ones, all of them and nothing else.

    open_clip's own loading also stretches position embeddings of another image size and adds tensors that a file
    lacks; here both are refused.
    """
    from open_clip.convert import convert_state_dict
    from open_clip.factory import load_state_dict
    from open_clip.model import convert_to_custom_text_state_dict

    try:
        tensors = convert_state_dict(network, load_state_dict(str(file), weights_only=True))
        if "positional_embedding" in tensors and not hasattr(network, "positional_embedding"):
            tensors = convert_to_custom_text_state_dict(tensors)
    except Exception as error:  # the libraries raise nearly anything for a file that is not right
        raise BackendError(
            f"{what}: {file} must be a whole safetensors file or PyTorch state dictionary: {first_line(error)}"
        ) from error
    own = network.state_dict()
    if "logit_scale" in tensors and tensors["logit_scale"].numel() == 1:  # some files hold it as a vector of one
        tensors["logit_scale"] = tensors["logit_scale"].reshape(own["logit_scale"].shape)
    common = own.keys() & tensors.keys()
    report = {
        "missing_keys": own.keys() - tensors.keys(),
        "unexpected_keys": tensors.keys() - own.keys(),
        "mismatched_keys": {name for name in common if own[name].shape != tensors[name].shape},
    }
    check_loaded(report, file, what=what)
    network.load_state_dict(tensors, strict=False)  # position_ids may be left over, as just checked


def _as_clip(network: Any, place: _Place, device: str, digest: str, options: Mapping[str, str]) -> Clip:
    import open_clip

    settings = open_clip.transform.PreprocessCfg(**network.visual.preprocess_cfg)
    transform = open_clip.transform.image_transform_v2(settings, is_train=False)
    return Clip(network, transform, place.architecture, device, digest, options)


@contextmanager
def _without_notice() -> Iterator[None]:
    """open_clip tells the root logger that the model is random, which is so only until `_fill`."""

    def keep(record: logging.LogRecord) -> bool:
        return "nitialized randomly" not in record.getMessage()

    root = logging.getLogger()
    root.addFilter(keep)
    try:
        yield
    finally:
        root.removeFilter(keep)
