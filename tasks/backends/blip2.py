"""Captioner: BLIP-2 (Li et al., 2023) through transformers, which captions source and target in paper section 3.2."""

import threading
from collections.abc import Sequence
from typing import Any

from PIL import Image as PilImage

from catalog.digests import value_digest
from catalog.errors import BackendError
from tasks.backends.batches import run_in_batches
from tasks.backends.generation import FILES, check_generation, generate, greedy, model_revision
from tasks.backends.protocols import Image
from tasks.backends.weights import check_device, first_line, load_network, resolve_weights, weights_digest
from tasks.phrases import one_line

_WHAT = "captioner 'blip2'"


class Blip2Captioner:
    """BLIP-2 with any of its language models; the likeliest words, one line an image."""

    name = "blip2"

    def __init__(
        self,
        weights: str = "",
        device: str = "cpu",
        dtype: str = "float32",
        batch_size: int = 16,
        max_new_tokens: int = 30,
        prompt: str = "",
    ) -> None:
        """Load the model from ``weights``: a folder in the layout of transformers, or a hub id.

        Args:
            weights: "Salesforce/blip2-opt-2.7b", say.
            device: "cpu" or "cuda".
            dtype: of the weights: float32, float16 or bfloat16.
            batch_size: images at once on CUDA.
            max_new_tokens: longest caption.
            prompt: what the caption goes on from, and which is not part of it: "a photo of"; empty for none.

        Raises:
            BackendError: an option out of range, or weights that are missing, torn or not of this model.
        """
        from transformers import AutoProcessor, Blip2ForConditionalGeneration, Blip2Processor

        self.device = check_device(device, what=_WHAT)
        check_generation(_WHAT, device, dtype, batch_size, max_new_tokens)
        folder = resolve_weights(weights, what=_WHAT, files=["config.json"], optional=FILES)
        try:
            self._processor = AutoProcessor.from_pretrained(str(folder), local_files_only=True)
        except Exception as error:  # the library raises nearly anything for a file that is not right
            raise BackendError(f"{_WHAT}: {folder} must hold a whole Blip2Processor: {first_line(error)}") from error
        if not isinstance(self._processor, Blip2Processor):
            raise BackendError(f"{_WHAT}: {folder} holds a {type(self._processor).__name__}: give one of BLIP-2")
        network = load_network(Blip2ForConditionalGeneration, folder, what=_WHAT, dtype=dtype)
        self._model = network.to(device).eval()
        self._generation = greedy(self._model, max_new_tokens)
        self._prompt, self._batch_size = one_line(prompt), batch_size
        self._lock = threading.Lock()  # flows run shards in threads: one call at a time keeps memory flat
        options = {"device": device, "dtype": dtype, "tokens": max_new_tokens}
        options |= {"prompt": value_digest(self._prompt)[:8]} if self._prompt else {}
        options |= {"batch": batch_size} if device == "cuda" else {}
        self.revision = model_revision(options, weights_digest(folder, FILES))

    def caption(
        self, images: Sequence[Image], labels: Sequence[Sequence[str]], captions: Sequence[Sequence[str]]
    ) -> list[str]:
        """See `protocols.Captioner`: from the pixels alone, whatever the dataset says; from 1 x 1 pixel on."""
        with self._lock:
            return run_in_batches(self._caption, images, self._batch_size, self.device)

    def _caption(self, images: Sequence[Image]) -> list[str]:
        # As PIL images: of an array 3 pixels high the processor could not tell which side is the channels.
        pictures = [PilImage.fromarray(image) for image in images]
        text = {"text": [self._prompt] * len(pictures)} if self._prompt else {}
        inputs = self._processor(images=pictures, return_tensors="pt", **text)
        # The vision model's type: with float16 the Q-Former stays float32, and so does what the whole model calls its.
        inputs = inputs.to(self.device, self._model.vision_model.dtype)
        tokens = generate(self._model, self._generation, **inputs)
        if not self._model.language_model.config.is_encoder_decoder:
            tokens = tokens[:, self._given(inputs) :]  # a decoder repeats what it was given: image, start, prompt
        return [one_line(line) for line in self._processor.batch_decode(tokens, skip_special_tokens=True)]

    def _given(self, inputs: Any) -> int:
        """Tokens before the caption; without a prompt the model makes them: one a query, and a start."""
        return int(inputs["input_ids"].shape[1] if self._prompt else self._model.config.num_query_tokens + 1)
