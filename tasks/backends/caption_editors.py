"""Caption editors that ask a language model, as the paper asks GPT-3.5 for the caption of the edited image (4.5)."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from catalog.errors import RowRejected
from tasks.backends.chat_prompt import MAX_TEXT, Message, Prompt, conversation, no_answer, plain_text, read_field
from tasks.backends.local_chat import TransformersChat
from tasks.backends.openai_chat import OpenAIChat

PROMPT = Path(__file__).with_name("prompts") / "target_caption.toml"

ANSWER_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"caption": {"type": "string"}},
    "required": ["caption"],
    "additionalProperties": False,
}


class OpenAICaptionEditor(OpenAIChat):
    """A language model behind any OpenAI-compatible endpoint; answers are kept on disk."""

    role = "caption_editor"
    prompt = PROMPT
    schema_name = "target_caption"
    schema = ANSWER_SCHEMA

    def edit_captions(self, captions: Sequence[str], instructions: Sequence[str]) -> list[str | RowRejected]:
        """See `protocols.CaptionEditor`. A question without a usable answer has its RowRejected in the list."""
        return _read(self.answer(_questions(captions, instructions, self._prompt)))


class TransformersCaptionEditor(TransformersChat):
    """A causal language model of transformers in this process; the likeliest answer."""

    role = "caption_editor"
    prompt = PROMPT

    def edit_captions(self, captions: Sequence[str], instructions: Sequence[str]) -> list[str | RowRejected]:
        """See `protocols.CaptionEditor`. A question without a usable answer has its RowRejected in the list."""
        return _read(self.answer(_questions(captions, instructions, self._prompt)))


def _questions(captions: Sequence[str], instructions: Sequence[str], prompt: Prompt) -> list[list[Message]]:
    return [
        conversation({"caption": plain_text(caption), "instruction": plain_text(instruction)}, prompt)
        for caption, instruction in zip(captions, instructions, strict=True)
    ]


def _read(texts: Sequence[str | RowRejected]) -> list[str | RowRejected]:
    return [text if isinstance(text, RowRejected) else _read_caption(text) for text in texts]


def _read_caption(text: str) -> str | RowRejected:
    """The caption in an answer, one line; or why there is none."""
    try:
        caption = read_field(text, "caption")
        if not isinstance(caption, str) or not caption.strip():
            raise no_answer(f'"caption" must be a string with words in it. Got {caption!r:.80}')
        if len(caption) > MAX_TEXT or not caption.strip().isprintable():
            raise no_answer(f"a caption is one line of at most {MAX_TEXT} characters. Got {caption!r:.80}")
        return caption.strip()
    except RowRejected as rejected:
        return rejected
