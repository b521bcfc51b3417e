"""An optional judge of edits: a vision-language model behind any OpenAI-compatible endpoint, pinned and cached.

It sees source, prediction and instruction and gives three numbers from 0 to 10: does the edit follow, does it keep the
rest, does it look real. What it answers is a stranger's text: one JSON object with these three whole numbers, or a
reason. Its revision holds the model's name, the digest of the prompt file and of every option; answers are kept by the
digest of what was asked, so measuring again asks nothing. Whether it still judges as it did: `evaluation.judge_drift`.
"""

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, cast

from catalog.digests import bytes_digest
from catalog.errors import BackendError, RowRejected
from catalog.images import encode_png
from catalog.reasons import Reason
from catalog.strict_toml import read_toml
from evaluation.metrics import Image
from tasks.backends.chat_prompt import Message, plain_text, read_object
from tasks.backends.openai_chat import OpenAIChat
from tasks.backends.registry import check_options

PROMPT = Path(__file__).with_name("prompts") / "edit_judge.toml"
SCORES = ("following", "keeping", "quality")
LEAST, MOST = 0, 10

_SCORE = {"type": "integer", "minimum": LEAST, "maximum": MOST}
_DATA_URL = "data:image/png;base64,"


class JudgedEdit(NamedTuple):
    """One question."""

    source: Image
    prediction: Image
    instruction: str


@dataclass(frozen=True)
class Judgement:
    """One answer: whole numbers from `LEAST` to `MOST`."""

    following: int
    keeping: int
    quality: int


class EditJudge(OpenAIChat):
    """Judges edits. Its options are those of the instructor ``openai``; the model must see images."""

    role = "edit judge"
    prompt = PROMPT
    schema_name = "edit_judgement"
    schema: ClassVar[Mapping[str, Any]] = {
        "type": "object",
        "properties": dict.fromkeys(SCORES, _SCORE),
        "required": list(SCORES),
        "additionalProperties": False,
    }

    def judge(self, edits: Sequence[JudgedEdit]) -> list[Judgement | RowRejected]:
        """A judgement of each edit, or why there is none: refused, cut off, or no answer of the form.

        Raises:
            BackendError: the server cannot be used. What was answered before is kept.
        """
        return [_read(text) for text in self.answer([self._conversation(edit) for edit in edits])]

    def _conversation(self, edit: JudgedEdit) -> list[Message]:
        question = json.dumps({"instruction": plain_text(edit.instruction)}, ensure_ascii=False)
        parts: list[dict[str, Any]] = [{"type": "text", "text": question}]
        for image in (edit.source, edit.prediction):
            url = _DATA_URL + base64.b64encode(encode_png(image)).decode()
            parts.append({"type": "image_url", "image_url": {"url": url}})
        turns = [{"role": "system", "content": self._prompt.rules}, {"role": "user", "content": parts}]
        return cast(list[Message], turns)

    def _kept_question(self, body: dict[str, Any]) -> dict[str, Any]:
        """The question as it is kept: pictures by digest, or each answer's file would hold two of them."""
        return {**body, "messages": [_without_pictures(turn) for turn in body["messages"]]}


def _without_pictures(turn: dict[str, Any]) -> dict[str, Any]:
    if isinstance(turn["content"], str):
        return turn
    parts = [
        {"image_sha256": bytes_digest(part["image_url"]["url"].encode())} if part["type"] == "image_url" else part
        for part in turn["content"]
    ]
    return {**turn, "content": parts}


def _read(text: str | RowRejected) -> Judgement | RowRejected:
    """The three numbers of an answer, or why they are not there."""
    try:
        if isinstance(text, RowRejected):
            raise text
        value = read_object(text, SCORES)
        for name in SCORES:
            number = value[name]
            if type(number) is not int or not LEAST <= number <= MOST:
                problem = f'answer: "{name}" must be a whole number from {LEAST} to {MOST}. Got {number!r:.40}'
                raise RowRejected(Reason.BAD_OUTPUT, problem)
        return Judgement(**value)
    except RowRejected as rejected:
        return RowRejected(Reason.BAD_OUTPUT, rejected.detail)


@dataclass(frozen=True)
class JudgeSettings:
    """A judge's file: the options of `EditJudge`, and how many of its answers may be missing."""

    options: dict[str, Any]
    max_unanswered: float = 0.02
    """Share of the samples; above it the judge's means are refused."""

    def load(self, **options: Any) -> EditJudge:
        """The judge; nothing is asked yet.

        Raises:
            BackendError: an option is wrong.
        """
        given = self.options | options
        check_options("the edit judge", EditJudge, given)
        return EditJudge(**given)


def read_judge(path: Path) -> JudgeSettings:
    """A judge's TOML file: ``url``, ``model``, further options of the endpoint, ``max_unanswered``.

    Raises:
        BackendError: no such file, not TOML, or a value out of range.
    """
    value = read_toml(path, BackendError)
    share = value.pop("max_unanswered", JudgeSettings.max_unanswered)
    if isinstance(share, bool) or not isinstance(share, int | float) or not 0 <= share < 1:
        raise BackendError(f"{path}: max_unanswered must be a share in [0, 1). Got {share!r:.40}")
    settings = JudgeSettings(value, float(share))
    try:
        settings.load()
    except BackendError as error:
        raise BackendError(f"{path}: {error}") from error
    return settings
