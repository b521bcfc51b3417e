"""Calls a backend on a batch, checks what comes back, and gives each item its own outcome.

The rule: an ``Exception`` that a backend raises for one item is that row's reason. A failed batch is tried again
item by item, so one bad item fails alone. A backend that knows which item is bad may give a RowRejected in that
item's place, and the batch is not tried again. Three things are nobody's row and end the step: a BackendError (the
backend itself is not usable: no server, no weights), a MemoryError, and what is no ``Exception`` (an interrupt).
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from catalog.errors import BackendError, RowRejected
from catalog.reasons import Reason
from tasks.backends.protocols import METHODS, PAIR_SIMILARITIES, Backend, InstructionRequest
from tasks.instruction_check import check_worded
from tasks.phrases import one_line

MAX_DETAIL = 300  # characters
MAX_CAPTION = 2000  # characters
_NUMBERS = ("aesthetic_scorer", "quality_scorer", "feature_similarity", "perceptual_distance")
"""Roles that give a number for an item."""


def call_batch(
    role: str, backend: Backend, *columns: Any, shared: Mapping[str, Any] | None = None, **named_columns: Any
) -> list[Any]:
    """Call the role's method on N items.

    Args:
        role: a key of `registry.ROLES` other than "index", which has no rows.
        backend: a backend of that role.
        columns: the method's arguments that hold one entry per item.
        shared: arguments by name that are the same for every item (``references``).
        named_columns: arguments by name that hold one entry per item (``exclude``).

    Returns:
        Per item its result or a RowRejected with BACKEND_FAILED, BAD_OUTPUT or the reason that the backend gave.
        A result is an image, an embedding (D,), a string, a float (NaN: not measured) or, of
        ``pair_similarity``, a dict of floats.
    """
    count = len(columns[0])
    assert all(len(column) == count for column in (*columns, *named_columns.values())), "columns of one length"
    return _call(role, backend, columns, dict(shared or {}), named_columns) if count else []


def _call(
    role: str, backend: Backend, columns: tuple[Any, ...], shared: dict[str, Any], named: dict[str, Any]
) -> list[Any]:
    """Results of a batch of at least one item; one that fails is tried again item by item."""
    count = len(columns[0])
    try:
        results = _as_list(getattr(backend, METHODS[role])(*columns, **shared, **named), count)
    except (BackendError, MemoryError):
        raise
    except Exception as error:
        if count == 1:
            return [_rejection(role, backend, error)]
        return [
            outcome
            for item in range(count)
            for outcome in _call(
                role,
                backend,
                tuple(column[item : item + 1] for column in columns),
                shared,
                {name: column[item : item + 1] for name, column in named.items()},
            )
        ]
    return [
        _checked(role, backend, result, [column[item] for column in columns]) for item, result in enumerate(results)
    ]


def _as_list(output: Any, count: int) -> list[Any]:
    """One result per item, whatever container the role returns."""
    if isinstance(output, Mapping):
        output = [dict(zip(output, values, strict=True)) for values in zip(*output.values(), strict=True)]
    results = list(output)
    if len(results) != count:
        raise RowRejected(Reason.BAD_OUTPUT, f"{len(results)} results for {count} items")
    return results


def _rejection(role: str, backend: Backend, error: Exception) -> RowRejected:
    reason = error.reason if isinstance(error, RowRejected) else Reason.BACKEND_FAILED
    message = error.detail if isinstance(error, RowRejected) else f"{type(error).__name__}: {error}"
    return RowRejected(reason, _shortened(f"{role}={backend.name}: {message}"))


def _shortened(text: str) -> str:
    line = one_line(text)
    return line if len(line) <= MAX_DETAIL else line[: MAX_DETAIL - 1] + "…"


def _checked(role: str, backend: Backend, result: Any, inputs: Sequence[Any]) -> Any:
    if isinstance(result, RowRejected):
        return _rejection(role, backend, result)
    try:
        _CHECKS[role](result, *inputs)
    except RowRejected as rejected:
        return _rejection(role, backend, rejected)
    return float(result) if role in _NUMBERS else result


def _must(holds: bool, detail: str) -> None:
    if not holds:
        raise RowRejected(Reason.BAD_OUTPUT, detail)


def _check_image(result: Any, image: np.ndarray, mask: np.ndarray, *_: Any) -> None:
    _must(isinstance(result, np.ndarray) and result.dtype == np.uint8, f"want a uint8 array, got {_kind(result)}")
    _must(result.shape == image.shape, f"want shape {image.shape}, got {result.shape}")
    outside = result != image
    outside &= ~mask[..., None]
    # Pixel by pixel takes ten times as long: only where something is wrong.
    changed = int(outside.any(axis=-1).sum()) if outside.any() else 0
    _must(changed == 0, f"{changed} pixels changed outside the mask")


def _check_embedding(result: Any, *_: Any) -> None:
    fits = isinstance(result, np.ndarray) and result.dtype == np.float32 and result.ndim == 1
    _must(fits, f"want a float32 vector, got {_kind(result)}")
    length = float(np.linalg.norm(result.astype(np.float64)))
    _must(abs(length - 1) < 1e-3, f"want a vector of length 1, got {length}")  # false for NaN, too


def _check_caption(result: Any, *_: Any) -> None:
    _must(isinstance(result, str), f"want text, got {_kind(result)}")
    _must(
        len(result.strip()) > 0 and len(result) <= MAX_CAPTION, f"want 1 to {MAX_CAPTION} characters, got {len(result)}"
    )
    _must(result.isprintable(), "want one line without control characters")


def _check_instruction(result: Any, request: InstructionRequest) -> None:
    _must(isinstance(result, str), f"want text, got {_kind(result)}")
    check_worded(result, request)


def _check_number(result: Any, *_: Any) -> None:
    _must(isinstance(result, float | np.floating), f"want a float, got {_kind(result)}")
    _must(math.isfinite(result), f"want a finite number, got {result}")


def _check_optional_number(result: Any, *_: Any) -> None:
    _must(isinstance(result, float | np.floating), f"want a float, got {_kind(result)}")
    _must(not math.isinf(result), f"want a finite number or NaN, got {result}")


def _check_cosine(result: Any, *_: Any) -> None:
    _check_number(result)
    _must(abs(result) <= 1 + 1e-6, f"want a cosine in [-1, 1], got {result}")


def _check_distance(result: Any, *_: Any) -> None:
    _check_number(result)
    _must(result >= 0, f"want a distance of 0 or more, got {result}")


def _check_similarities(result: Any, *_: Any) -> None:
    _must(isinstance(result, dict) and set(result) == set(PAIR_SIMILARITIES), f"want {PAIR_SIMILARITIES}")
    for name, value in result.items():
        _check_optional_number(value)
        _must(not abs(value) > 1 + 1e-6, f"{name} must be in [-1, 1], got {value}")


def _kind(value: Any) -> str:
    return f"{value.dtype} {value.shape}" if isinstance(value, np.ndarray) else type(value).__name__


_CHECKS: dict[str, Callable[..., None]] = {
    "inpainter": _check_image,
    "replacer": _check_image,
    "embedder": _check_embedding,
    "captioner": _check_caption,
    "caption_editor": _check_caption,
    "instructor": _check_instruction,
    "aesthetic_scorer": _check_number,
    "quality_scorer": _check_optional_number,
    "pair_similarity": _check_similarities,
    "feature_similarity": _check_cosine,
    "perceptual_distance": _check_distance,
}
