"""Proposes templates by asking a language model, as the paper asks GPT-4: behind an endpoint or in this process."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Protocol

from catalog.errors import RowRejected
from tasks.backends import chat_prompt
from tasks.backends.chat_prompt import Message, conversation, read_field, read_prompt
from tasks.backends.local_chat import TransformersChat
from tasks.backends.openai_chat import OpenAIChat
from tasks.template_expansion import Proposal

PROMPT = Path(chat_prompt.__file__).with_name("prompts") / "template_rewrites.toml"

ANSWER_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"rewrites": {"type": "array", "items": {"type": "string"}}},
    "required": ["rewrites"],
    "additionalProperties": False,
}

_TASKS = {
    "segmentation": "mark a region of the photo with a half-transparent colour",
    "keypoint_detection": "mark joints of a person with small filled circles",
    "deblurring": "sharpen a blurred photo",
    "denoising": "remove the noise from a photo",
    "watermark_removal": "remove a watermark from a photo",
}
_NUM_AVOIDED = 12
_MAX_REWRITES = 40
_MAX_LENGTH = 400  # characters of one rewrite that are kept in the record


class Chat(Protocol):
    """A language model."""

    name: str
    revision: str

    def answer(self, conversations: Sequence[Sequence[Message]]) -> Sequence[str | RowRejected]:
        """The text that answers each conversation, or why there is none."""
        ...


class OpenAIRewriter(OpenAIChat):
    """A model behind an OpenAI-compatible endpoint. Its options are those of the instructor ``openai``."""

    role = "template rewriter"
    prompt = PROMPT
    schema_name = "template_rewrites"
    schema = ANSWER_SCHEMA


class TransformersRewriter(TransformersChat):
    """A model of transformers in this process. Its options are those of the instructor ``transformers``."""

    role: ClassVar[str] = "template rewriter"
    prompt = PROMPT


class ChatProposer:
    """Asks for rewrites of each template by hand, in every round, and tells the model what there is already."""

    def __init__(self, chat: Chat, model: str, per_template: int = 8) -> None:
        self._chat, self._count = chat, per_template
        self._prompt = read_prompt(PROMPT)
        self.facts: dict[str, Any] = {
            "name": chat.name,
            "model": model,
            "revision": chat.revision,
            "prompt_version": self._prompt.version,
            "prompt": self._prompt.rules,
            "examples": [list(example) for example in self._prompt.examples],
            "rewrites_per_question": per_template,
        }

    def propose(self, name: str, written: Sequence[str], kept: Sequence[str], turn: int) -> list[Proposal]:
        """See `tasks.template_expansion.Proposer`."""
        questions = [conversation(self._question(name, one, kept, turn), self._prompt) for one in written]
        answers = self._chat.answer(questions)
        return [
            proposal
            for template, answer in zip(written, answers, strict=True)
            for proposal in _proposals(template, answer)
        ]

    def _question(self, name: str, template: str, kept: Sequence[str], turn: int) -> dict[str, Any]:
        slots = (["[...]"] if "[" in template else []) + sorted(set(re.findall(r"\{[a-z]+\}", template)))
        avoid = [other for other in kept if other != template][-_NUM_AVOIDED:]
        facts = {"task": _TASKS[name], "template": template, "slots": slots}
        return {**facts, "count": self._count, "attempt": turn, "avoid": avoid}


def _proposals(template: str, answer: str | RowRejected) -> list[Proposal]:
    """What one answer proposes; an answer that cannot be read is one failed proposal."""
    try:
        if isinstance(answer, RowRejected):
            raise answer
        return [Proposal(text=text, origin=template) for text in read_rewrites(answer)]
    except RowRejected as rejected:
        return [Proposal(text="", origin=template, failure=_failure(rejected.detail))]


def read_rewrites(text: str) -> list[str]:
    """The rewrites in a model's answer, each without the white space around it.

    Raises:
        RowRejected: not one JSON object with the one field "rewrites", a list of texts, not too long.
    """
    found = read_field(text, "rewrites")
    if not isinstance(found, list) or not all(isinstance(one, str) for one in found):
        raise chat_prompt.no_answer('"rewrites" must be a list of texts')
    if len(found) > _MAX_REWRITES or any(len(one) > _MAX_LENGTH for one in found):
        raise chat_prompt.no_answer(f"more than {_MAX_REWRITES} rewrites, or one over {_MAX_LENGTH} characters")
    return [one.strip() for one in found]


def _failure(detail: str) -> str:
    """A rejection's detail as "rule: details"; it begins with "answer:" or "refusal:" where a model answered."""
    return detail if detail.startswith(("answer:", "refusal:")) else f"answer: {detail}"
