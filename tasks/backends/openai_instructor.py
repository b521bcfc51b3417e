"""Instructor that asks a language model behind an OpenAI-compatible endpoint (paper section 3.2)."""

from collections.abc import Sequence

from catalog.errors import RowRejected
from tasks.backends.chat_prompt import ANSWER_SCHEMA, PROMPT, messages, read_answers
from tasks.backends.openai_chat import OpenAIChat
from tasks.backends.protocols import InstructionRequest


class OpenAIInstructor(OpenAIChat):
    """A language model behind any OpenAI-compatible endpoint; answers are kept on disk."""

    role = "instructor"
    prompt = PROMPT
    schema_name = "edit_instruction"
    schema = ANSWER_SCHEMA

    def instruct(self, requests: Sequence[InstructionRequest]) -> list[str | RowRejected]:
        """See `protocols.Instructor`. A question without a usable answer has its RowRejected in the list.

        Raises:
            BackendError: the server cannot be used. What was answered before is kept.
        """
        return read_answers(self.answer([messages(request, self._prompt) for request in requests]))
