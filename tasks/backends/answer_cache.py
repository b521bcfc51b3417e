"""Answers of a chat model on disk, one small file per question, so that a rerun after a kill asks nothing twice."""

import json
import logging
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from catalog.digests import canonical_json, value_digest
from catalog.durable import claim, publish, write_all

_LOGGER = logging.getLogger(__name__)
_MAX_FILE = 1 << 20  # bytes


@dataclass(frozen=True)
class Answer:
    """What a model answered, as it came; whether it is an instruction is decided each time it is read."""

    text: str
    """Empty where the model refused."""
    finish: str
    """The server's ``finish_reason``: "stop", "length", "content_filter"."""
    refusal: str
    """The server's ``refusal``, or empty."""
    prompt_tokens: int
    completion_tokens: int


class AnswerCache:
    """Files ``FOLDER/AB/ABCDEF….json``, named by the SHA-256 of the question, whole or absent."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def get(self, question: dict[str, Any], ask: Callable[[], Answer]) -> tuple[Answer, bool]:
        """The stored answer to ``question``, else that of ``ask``, which is then stored.

        Whoever asks the same at the same time, in another thread or process, waits and reads the answer.

        Args:
            question: a JSON value; all that the answer depends on.
            ask: called at most once; what it raises is passed on and nothing is stored.

        Returns:
            The answer, and whether it was stored before.

        Raises:
            OSError: disk full, folder not writable.
        """
        path = self.path(question)
        if answer := _read(path, question):
            return answer, True
        with claim(path) as descriptor:
            if answer := _read(path, question):
                return answer, True
            answer = ask()
            content = canonical_json({"question": question, "answer": asdict(answer)})
            write_all(descriptor, content.encode("utf-8", "surrogatepass"))
            publish(descriptor, path)
        return answer, False

    def path(self, question: dict[str, Any]) -> Path:
        """Where the answer to ``question`` is stored."""
        digest = value_digest(question)
        return self.folder / digest[:2] / f"{digest}.json"


def _read(path: Path, question: dict[str, Any]) -> Answer | None:
    """The stored answer; None where there is none, or where the file is not an answer to this question."""
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_FILE + 1)
    except FileNotFoundError:
        return None
    answer = _parse(content, question)
    if answer is None:
        _LOGGER.warning("%s holds no answer to its question and is asked anew", path)
    return answer


def _parse(content: bytes, question: dict[str, Any]) -> Answer | None:
    try:
        value = json.loads(content.decode("utf-8", "surrogatepass")) if len(content) <= _MAX_FILE else None
    except (ValueError, RecursionError):
        return None
    if not isinstance(value, dict) or value.get("question") != question or not isinstance(value.get("answer"), dict):
        return None
    fields = value["answer"]
    texts = all(isinstance(fields.get(name), str) for name in ("text", "finish", "refusal"))
    counts = all(type(fields.get(name)) is int for name in ("prompt_tokens", "completion_tokens"))
    return Answer(**fields) if texts and counts and len(fields) == 5 else None
