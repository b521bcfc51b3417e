"""A language model of transformers in this process: conversations in, texts out."""

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from catalog.errors import BackendError
from tasks.backends.batches import run_in_batches
from tasks.backends.chat_prompt import Message, conversation, read_prompt, without_system
from tasks.backends.generation import FILES, check_generation, generate, greedy, model_revision
from tasks.backends.weights import check_device, first_line, load_network, resolve_weights, weights_digest

_WIDTH = 64
"""Questions are padded to a multiple of so many tokens: the shapes that a question meets then depend on it alone."""


class TransformersChat:
    """Base of what asks such a model, from a local folder or the hub, for the likeliest answer."""

    name = "transformers"
    role: ClassVar[str]
    """What it is, for messages: "instructor"."""
    prompt: ClassVar[Path]
    """The prompt file: part of the revision."""

    def __init__(
        self,
        weights: str = "",
        device: str = "cpu",
        dtype: str = "float32",
        batch_size: int = 8,
        max_new_tokens: int = 120,
    ) -> None:
        """Load the model from ``weights``: a folder in the layout of transformers, or a hub id.

        Args:
            weights: "Qwen/Qwen2.5-7B-Instruct", say.
            device: "cpu" or "cuda".
            dtype: of the weights: float32, float16 or bfloat16.
            batch_size: questions at once on CUDA.
            max_new_tokens: longest answer.

        Raises:
            BackendError: an option out of range, or weights that are missing, torn or without a chat template.
        """
        from transformers import AutoModelForCausalLM, AutoTokenizer

        self._what = f"{self.role} {self.name!r}"
        self.device = check_device(device, what=self._what)
        check_generation(self._what, device, dtype, batch_size, max_new_tokens)
        folder = resolve_weights(weights, what=self._what, files=["config.json"], optional=FILES)
        try:
            self._tokenizer = AutoTokenizer.from_pretrained(str(folder), local_files_only=True)
        except Exception as error:  # the library raises nearly anything for a file that is not right
            raise BackendError(f"{self._what}: {folder} must hold a whole tokenizer: {first_line(error)}") from error
        self._prompt = read_prompt(self.prompt)
        self._system = self._takes_system_role(str(folder))
        network = load_network(AutoModelForCausalLM, folder, what=self._what, dtype=dtype)
        self._model = network.to(device).eval()
        self._generation = greedy(self._model, max_new_tokens)
        self._check_room(max_new_tokens)
        self._batch_size = batch_size
        self._lock = threading.Lock()  # flows run shards in threads: one call at a time keeps memory flat
        options = {"device": device, "dtype": dtype, "tokens": max_new_tokens, "prompt": self._prompt.version}
        options |= {"batch": batch_size} if device == "cuda" else {}
        self.revision = model_revision(options, weights_digest(folder, FILES))

    def answer(self, conversations: Sequence[Sequence[Message]]) -> list[str]:
        """The text that answers each conversation."""
        questions = [self._tokens(turns, self._system) for turns in conversations]
        by_width: dict[int, list[int]] = {}
        for place, question in enumerate(questions):
            by_width.setdefault(-(-len(question) // _WIDTH) * _WIDTH, []).append(place)
        answers: dict[int, str] = {}
        with self._lock:
            for width, places in by_width.items():
                padded = [_padded(questions[place], width, self._generation.pad_token_id or 0) for place in places]
                texts = run_in_batches(self._generate, padded, self._batch_size, self.device)
                answers.update(zip(places, texts, strict=True))
        return [answers[place] for place in range(len(questions))]

    def _generate(self, padded: Sequence[tuple[list[int], list[int]]]) -> list[str]:
        """Answers to token lists (tokens, attention) of one length, padded on the left."""
        import torch

        tokens, attention = (torch.tensor(rows, device=self.device) for rows in zip(*padded, strict=True))
        made = generate(self._model, self._generation, input_ids=tokens, attention_mask=attention)
        texts: list[str] = self._tokenizer.batch_decode(made[:, tokens.shape[1] :], skip_special_tokens=True)
        return texts

    def _tokens(self, turns: Sequence[Message], system: bool) -> list[int]:
        # Templates of models that can think aloud know enable_thinking; others ignore it.
        text = self._tokenizer.apply_chat_template(
            list(turns) if system else without_system(turns),
            add_generation_prompt=True,
            tokenize=False,
            enable_thinking=False,
        )
        tokens: list[int] = self._tokenizer(text, add_special_tokens=False)["input_ids"]
        return tokens

    def _takes_system_role(self, folder: str) -> bool:
        """Whether the chat template knows a system role; some refuse it."""
        import jinja2

        if not self._tokenizer.chat_template:
            raise BackendError(
                f"{self._what}: {folder} must hold a chat template: choose a model that was tuned for chat"
            )
        for system in (True, False):
            try:
                self._tokens(conversation({}, self._prompt), system)
                return system
            except jinja2.TemplateError as error:
                problem = error
        raise BackendError(f"{self._what}: the chat template of {folder} cannot be used: {first_line(problem)}")

    def _check_room(self, max_new_tokens: int) -> None:
        """Refuse a model whose window does not hold the rules, the examples and an answer."""
        bare = len(self._tokens(conversation({}, self._prompt), self._system))
        window = getattr(self._model.config.get_text_config(), "max_position_embeddings", None)
        if window is not None and bare + _WIDTH + max_new_tokens > window:
            raise BackendError(
                f"{self._what}: a question takes {bare} tokens and an answer {max_new_tokens}, but the model reads "
                f"{window}: choose one with a longer window"
            )


def _padded(tokens: list[int], width: int, pad: int) -> tuple[list[int], list[int]]:
    missing = width - len(tokens)
    return [pad] * missing + tokens, [0] * missing + [1] * len(tokens)
