"""Which backends exist: role -> name -> class, imported when asked for.

A new backend is one line here and a class with the role's method. Its constructor's keyword arguments are
its options; those that load weights take ``weights`` (a local folder or file, or a hub id), ``device`` and
``batch_size``. A wrong option, a missing package or a missing weight file is a BackendError; no backend
stands in for another.
"""

import importlib
import inspect
from collections.abc import Sequence
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from catalog.errors import BackendError
from tasks.backends.protocols import Backend

_HERE = "tasks.backends"

ROLES: dict[str, dict[str, str]] = {
    "inpainter": {
        "opencv": f"{_HERE}.inpainting:OpenCVInpainter",
        "exemplar": f"{_HERE}.inpainting:ExemplarInpainter",
        "lama": f"{_HERE}.lama:LamaInpainter",
        "lama-cleaner": f"{_HERE}.inpainting_servers:LamaCleanerInpainter",
        "iopaint": f"{_HERE}.inpainting_servers:IOPaintInpainter",
    },
    "replacer": {
        "gradient-paste": f"{_HERE}.replacing:GradientPasteReplacer",
        "paint-by-example": f"{_HERE}.paint_by_example:PaintByExampleReplacer",
    },
    "embedder": {
        "histogram": f"{_HERE}.embedding:HistogramEmbedder",
        "open-clip": f"{_HERE}.open_clip_models:OpenClipEmbedder",
    },
    "index": {
        "faiss-flat": f"{_HERE}.vector_index:FaissFlatIndex",
        "faiss-auto": f"{_HERE}.vector_index:FaissAutoIndex",
    },
    "captioner": {
        "labels": f"{_HERE}.captioning:LabelCaptioner",
        "blip2": f"{_HERE}.blip2:Blip2Captioner",
    },
    "instructor": {
        "grammar": f"{_HERE}.instructing:GrammarInstructor",
        "openai": f"{_HERE}.openai_instructor:OpenAIInstructor",
        "transformers": f"{_HERE}.local_instructor:TransformersInstructor",
    },
    "aesthetic_scorer": {
        "image-statistics": f"{_HERE}.aesthetics:ImageStatisticsScorer",
        "laion-linear": f"{_HERE}.laion_heads:LaionLinearScorer",
        "laion-mlp": f"{_HERE}.laion_heads:LaionMlpScorer",
    },
    "quality_scorer": {"knn-giqa": f"{_HERE}.giqa:KnnGiqaScorer"},
    "pair_similarity": {
        "histogram": f"{_HERE}.similarity:HistogramSimilarity",
        "open-clip": f"{_HERE}.open_clip_models:OpenClipSimilarity",
    },
    "caption_editor": {
        "rules": f"{_HERE}.caption_rules:RuleCaptionEditor",
        "openai": f"{_HERE}.caption_editors:OpenAICaptionEditor",
        "transformers": f"{_HERE}.caption_editors:TransformersCaptionEditor",
    },
    "feature_similarity": {
        "histogram": f"{_HERE}.feature_cosines:HistogramFeatureSimilarity",
        "dino": f"{_HERE}.dino:DinoSimilarity",
    },
    "perceptual_distance": {
        "laplacian-pyramid": f"{_HERE}.perceptual:LaplacianPyramidDistance",
        "lpips": f"{_HERE}.lpips:LpipsDistance",
    },
}


def load_backend(role: str, name: str, **options: Any) -> Any:
    """The backend ``name`` of ``role``, an object of the role's protocol.

    Raises:
        BackendError: unknown role, name or option; a package or weight file that is not there.
    """
    module, _, attribute = _target(role, name).partition(":")
    try:
        backend_class = getattr(importlib.import_module(module), attribute)
        check_options(f"{role} {name!r}", backend_class, options)
        return backend_class(**options)
    except ModuleNotFoundError as error:
        package = (error.name or "its package").partition(".")[0]
        raise BackendError(
            f"{role} {name!r} needs the package {package!r}, which is not installed. Please install it "
            f"(`pip install 'ieiw[models]'`) or choose another {role}: {_choices(role)}"
        ) from error


def backend_id(role: str, backend: Backend) -> str:
    """``role=name@revision``, as the ``backends`` column of every table holds it."""
    return f"{role}={backend.name}@{backend.revision}"


def describe_backends() -> list[tuple[str, str, str]]:
    """(role, name, first line of the class's docstring) of every backend, in registry order."""
    rows = []
    for role, backends in ROLES.items():
        for name, target in backends.items():
            module, _, attribute = target.partition(":")
            backend_class = getattr(importlib.import_module(module), attribute)
            rows.append((role, name, (inspect.getdoc(backend_class) or "").partition("\n")[0]))
    return rows


def _target(role: str, name: str) -> str:
    if role not in ROLES:
        raise BackendError(f"there is no backend role {role!r}; choose from {', '.join(ROLES)}")
    if name not in ROLES[role]:
        raise BackendError(f"there is no {role} named {name!r}; choose from {_choices(role)}")
    return ROLES[role][name]


def _choices(role: str) -> str:
    return ", ".join(ROLES[role])


def check_options(what: str, backend_class: type, options: dict[str, Any]) -> None:
    """Refuse options that a class's constructor does not take, or of another type.

    Raises:
        BackendError: names the option; ``what`` begins the sentence.
    """
    known = [parameter for parameter in inspect.signature(backend_class).parameters]
    unknown = sorted(set(options) - set(known))
    if unknown:
        raise BackendError(f"{what} has no option {unknown[0]!r}; its options are: {', '.join(known) or 'none'}")
    constructor: Any = backend_class.__init__  # type: ignore[misc]
    for option, hint in get_type_hints(constructor).items():
        if option in options and not _fits(options[option], hint):
            kind = hint.__name__ if isinstance(hint, type) and not get_args(hint) else str(hint)
            raise BackendError(f"{what}: {option} must be of type {kind}. Got {options[option]!r:.80}")


def _fits(value: Any, hint: Any) -> bool:
    """Whether a value from TOML or JSON is of a constructor argument's type; finite, and of a size that C takes."""
    if get_origin(hint) in (Union, UnionType):
        return any(_fits(value, one) for one in get_args(hint))
    if hint is Any or hint is None or hint is type(None):
        return hint is Any or value is None
    if hint in (int, float):
        numbers = (int, float) if hint is float else (int,)
        sound = isinstance(value, numbers) and not isinstance(value, bool)
        return sound and (isinstance(value, float) or abs(value) < 2**63)
    kind = get_origin(hint) or hint
    if kind is Literal:
        return value in get_args(hint)
    if kind in (Sequence, list, tuple):
        return isinstance(value, list | tuple) and all(_fits(one, (get_args(hint) or (Any,))[0]) for one in value)
    return isinstance(value, kind)
