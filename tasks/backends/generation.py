"""What backends that generate text with transformers share: their options, greedy decoding, their revision."""

from typing import Any

from catalog.errors import BackendError
from tasks.backends.protocols import library_revision

FILES = ("*.json", "*.safetensors", "*.txt", "*.model", "*.jinja")
"""Patterns of what a text model's folder is loaded from; nothing of it is pickled."""
_DTYPES = ("float32", "float16", "bfloat16")


def check_generation(what: str, device: str, dtype: str, batch_size: int, max_new_tokens: int) -> None:
    """Check the options that every generating backend has.

    Raises:
        BackendError: one is out of range; ``what`` begins the sentence.
    """
    if dtype not in _DTYPES or (device == "cpu" and dtype == "float16"):
        choices = ", ".join(_DTYPES)
        raise BackendError(f"{what}: dtype must be one of {choices}, float16 only on CUDA. Got {dtype!r} on {device}")
    for name, value, most in (("batch_size", batch_size, 4096), ("max_new_tokens", max_new_tokens, 4096)):
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
            raise BackendError(f"{what}: {name} must be a whole number from 1 to {most}. Got {value!r}")


def greedy(model: Any, max_new_tokens: int) -> Any:
    """A GenerationConfig: the likeliest token each time, the checkpoint's special tokens, none of its other habits.

    A checkpoint's generation_config.json may ask for sampling, beams or penalties; results must not depend on it.
    """
    from transformers import GenerationConfig

    own = model.generation_config
    text = model.config.get_text_config()
    ends = own.eos_token_id if own.eos_token_id is not None else text.eos_token_id
    first = ends[0] if isinstance(ends, list) else ends
    pads = (own.pad_token_id, getattr(text, "pad_token_id", None), first)
    return GenerationConfig(
        max_new_tokens=max_new_tokens,
        do_sample=False,
        num_beams=1,
        bos_token_id=own.bos_token_id if own.bos_token_id is not None else getattr(text, "bos_token_id", None),
        eos_token_id=ends,
        pad_token_id=next((pad for pad in pads if pad is not None), None),
        decoder_start_token_id=getattr(own, "decoder_start_token_id", None),
    )


def model_revision(options: dict[str, Any], digest: str) -> str:
    """Revision of a model that transformers runs; ``digest`` is of its files."""
    import torch
    import transformers

    versions = {"torch": torch.__version__.replace("+", "."), "transformers": transformers.__version__}
    return library_revision(1, options, **versions, weights=digest[:16])


def generate(model: Any, config: Any, **inputs: Any) -> Any:
    """Token numbers that ``model`` generates, int64 (N, L), with what `greedy` gave as ``config``."""
    import torch

    with torch.inference_mode():
        return model.generate(**inputs, generation_config=config)
