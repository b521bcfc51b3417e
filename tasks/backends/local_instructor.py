"""Instructor that runs a language model of transformers in this process; the same questions as `openai_instructor`."""

from collections.abc import Sequence

from catalog.errors import RowRejected
from tasks.backends.chat_prompt import PROMPT, messages, read_answers
from tasks.backends.local_chat import TransformersChat
from tasks.backends.protocols import InstructionRequest


class TransformersInstructor(TransformersChat):
    """A causal language model with a chat template, from a local folder or the hub; the likeliest answer."""

    role = "instructor"
    prompt = PROMPT

    def instruct(self, requests: Sequence[InstructionRequest]) -> list[str | RowRejected]:
        """See `protocols.Instructor`. A question without a usable answer has its RowRejected in the list."""
        return read_answers(self.answer([messages(request, self._prompt) for request in requests]))
