"""What a language model is asked for an instruction, and how its answer is read: one wording for every chat model.

The words are data, `prompts/edit_instruction.toml`. What is known about an edit goes in as one JSON object, because
captions come from strangers and from models; what comes out must be a JSON object with the one field "instruction".
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from catalog.digests import file_digest
from catalog.errors import BackendError, RowRejected
from catalog.reasons import Reason
from catalog.strict_toml import read_toml
from tasks.backends.protocols import InstructionRequest
from tasks.phrases import one_line

PROMPT = Path(__file__).with_name("prompts") / "edit_instruction.toml"

MAX_TEXT = 400
"""Characters of one phrase or caption that a model is shown."""
MAX_ANSWER = 4000
"""Characters; a longer answer is not read."""

ANSWER_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"instruction": {"type": "string"}},
    "required": ["instruction"],
    "additionalProperties": False,
}
"""JSON schema of an answer, for servers that can hold a model to it."""

Message = dict[str, str]

_LOOKALIKES = str.maketrans("<>[]|", "‹›()¦")
"""Chat templates mark turns with these ("<|im_end|>", "[INST]", "</s>"): inside a caption they must mark nothing."""
_THOUGHT = re.compile(r"^\s*<think>.*?</think>", re.DOTALL)
_FENCED = re.compile(r"^```(?:json)?\s*\n(.*)\n\s*```$", re.DOTALL | re.IGNORECASE)


@dataclass(frozen=True)
class Prompt:
    """A prompt file as read."""

    rules: str
    examples: tuple[tuple[str, str], ...]
    """(JSON of a request, JSON of its answer)."""
    version: str
    """First 12 characters of the file's SHA-256."""


@cache
def read_prompt(path: Path = PROMPT) -> Prompt:
    """Read a prompt file.

    Raises:
        BackendError: no such file, not TOML, or without rules.
    """
    value = read_toml(path, BackendError)
    rules, examples = value.get("rules"), value.get("example", [])
    if not isinstance(rules, str) or not rules.strip() or not isinstance(examples, list):
        raise BackendError(f"{path} must hold the text rules and a list of [[example]]")
    pairs = []
    for number, example in enumerate(examples, start=1):
        answer = {key: value for key, value in example.items() if key != "request"} if isinstance(example, dict) else {}
        if len(answer) != 1 or not isinstance(example.get("request"), dict):
            raise BackendError(f"{path}: example {number} must hold a request and one field of the answer")
        pairs.append((_json(example["request"]), _json(answer)))
    return Prompt(rules.strip(), tuple(pairs), file_digest(path)[:12])


def messages(request: InstructionRequest, prompt: Prompt, *, system: bool = True) -> list[Message]:
    """The conversation that asks for one instruction: rules, examples as turns, the request.

    Args:
        request: the edit.
        prompt: of `read_prompt`.
        system: False puts the rules before the first question, for chat templates that know no system role.
    """
    turns = conversation(facts(request), prompt)
    return turns if system else without_system(turns)


def conversation(question: Mapping[str, Any], prompt: Prompt) -> list[Message]:
    """Rules, examples as turns, and a question: one JSON object."""
    turns = [turn for asked, answer in prompt.examples for turn in (_turn("user", asked), _turn("assistant", answer))]
    return [_turn("system", prompt.rules), *turns, _turn("user", _json(question))]


def without_system(turns: Sequence[Message]) -> list[Message]:
    """A conversation for chat templates that know no system role: the rules go before the first question."""
    rules, first, *rest = turns
    return [_turn("user", f"{rules['content']}\n\n{first['content']}"), *rest]


def facts(request: InstructionRequest) -> dict[str, Any]:
    """What is known about an edit, as a model sees it: texts of one line, at most `MAX_TEXT` characters each."""
    described = {
        "object": plain_text(request.phrase),
        "label": plain_text(request.label),
        "attributes": [plain_text(attribute) for attribute in request.attributes] or None,
        "relations": [f"{plain_text(predicate)} {plain_text(other)}" for predicate, other in request.relations] or None,
    }
    source: dict[str, Any] = {"caption": plain_text(request.source_caption)}
    target: dict[str, Any] = {"caption": plain_text(request.target_caption)}
    if request.edit_type == "object_addition":
        target = described | target
    else:
        source = described | source
    if request.replacement_phrase:
        target = {"object": plain_text(request.replacement_phrase)} | target
    return {
        "edit": request.edit_type,
        "num_instances": request.num_instances,
        "source": {name: value for name, value in source.items() if value},
        "target": {name: value for name, value in target.items() if value},
    }


def read_answers(texts: Sequence[str | RowRejected]) -> list[str | RowRejected]:
    """`read_answer` of each text that there is."""
    read: list[str | RowRejected] = []
    for text in texts:
        try:
            read.append(read_answer(text) if isinstance(text, str) else text)
        except RowRejected as rejected:
            read.append(rejected)
    return read


def read_answer(text: str) -> str:
    """The instruction in a model's answer: `read_field` of "instruction", a string.

    Raises:
        RowRejected: BAD_INSTRUCTION for any other answer; the detail begins with "answer:".
    """
    instruction = read_field(text, "instruction")
    if not isinstance(instruction, str):
        raise no_answer(f'"instruction" must be a string, got {type(instruction).__name__}')
    return instruction.strip()


def read_field(text: str, name: str) -> Any:
    """The one field of a model's answer. See `read_object`."""
    return read_object(text, (name,))[name]


def read_object(text: str, names: Sequence[str]) -> dict[str, Any]:
    """The fields of a model's answer.

    Strict, because servers may ignore the schema: the whole answer is one JSON object with just the fields ``names``.
    One Markdown fence around it and a ``<think>`` part before it are taken off.

    Raises:
        RowRejected: BAD_INSTRUCTION for any other answer; the detail begins with "answer:".
    """
    if len(text) > MAX_ANSWER:
        raise no_answer(f"{len(text)} characters, at most {MAX_ANSWER}")
    bare = _THOUGHT.sub("", text, count=1).strip()
    if fenced := _FENCED.match(bare):
        bare = fenced[1]
    try:
        value = json.loads(bare, object_pairs_hook=_fields, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:  # RecursionError: thousands of open brackets
        raise no_answer(f"no JSON object in {text[:80]!r}") from error
    if not isinstance(value, dict) or set(value) != set(names):
        fields = f'field "{names[0]}"' if len(names) == 1 else f"fields {', '.join(names)}"
        raise no_answer(f"want one JSON object with the {fields}, got {text[:80]!r}")
    return value


def no_answer(problem: str) -> RowRejected:
    """What is raised for an answer that is not of the wanted form."""
    return RowRejected(Reason.BAD_INSTRUCTION, f"answer: {problem}")


def _fields(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len({name for name, _ in pairs}) != len(pairs):
        raise ValueError("a field twice")
    return dict(pairs)


def _refuse_constant(name: str) -> Any:
    raise ValueError(name)


def plain_text(text: str | None) -> str | None:
    """A stranger's text as a model is shown it: one line, at most `MAX_TEXT` characters, no marks of a chat's turns."""
    return one_line(text).translate(_LOOKALIKES)[:MAX_TEXT] if text else None


def _turn(role: str, content: str) -> Message:
    return {"role": role, "content": content}


def _json(value: Mapping[str, Any] | None) -> str:
    return json.dumps(value, ensure_ascii=False)
