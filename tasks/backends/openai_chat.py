"""A language model behind an OpenAI-compatible endpoint: conversations in, texts out, kept on disk."""

import logging
import re
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, CancelledError, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from catalog.digests import value_digest
from catalog.errors import BackendError, RowRejected
from catalog.ledger import charge
from catalog.reasons import Reason
from catalog.workspace import Workspace
from tasks.backends.answer_cache import Answer, AnswerCache
from tasks.backends.chat_endpoint import ChatEndpoint, Endpoint
from tasks.backends.chat_prompt import Message, read_prompt
from tasks.backends.protocols import library_revision

_LOGGER = logging.getLogger(__name__)
_OWN_FIELDS = ("model", "messages", "stream", "n")


@dataclass
class Usage:
    """What has been asked since the object was made."""

    num_requests: int = 0
    """Questions that the server answered."""
    num_cached: int = 0
    """Questions whose answer was on disk."""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost: float = 0.0
    """In the currency of the prices."""


class OpenAIChat:
    """Base of what asks such a model. A subclass says by which prompt, and of which form an answer must be."""

    name = "openai"
    device = "cpu"
    role: ClassVar[str]
    """What it is, for the log and messages: "instructor"."""
    prompt: ClassVar[Path]
    """The prompt file: part of the revision and of every cached question."""
    schema_name: ClassVar[str]
    schema: ClassVar[Mapping[str, Any]]
    """JSON schema of an answer, for servers that can hold a model to it."""

    def __init__(
        self,
        url: str = "",
        model: str = "",
        api_key_env: str = "",
        concurrency: int = 4,
        requests_per_minute: float = 0.0,
        timeout: float = 60.0,
        retries: int = 5,
        backoff: float = 1.0,
        max_tokens: int = 120,
        temperature: float = 0.0,
        seed: int = 0,
        extra: Mapping[str, Any] | None = None,
        omit: Sequence[str] = (),
        version: str = "",
        cache: str = "",
        prompt_price: float = 0.0,
        completion_price: float = 0.0,
    ) -> None:
        """Ask nothing yet.

        Args:
            url: base address of the server: "http://127.0.0.1:8000/v1".
            model: the name that the server knows.
            api_key_env: name of the environment variable that holds the key; empty for a server without keys.
            concurrency: requests under way at once, of this process.
            requests_per_minute: of this process; 0 for no limit.
            timeout: seconds for one request.
            retries: further tries after a failure that may pass.
            backoff: seconds before the first of them, then doubled; the server's ``Retry-After`` goes before it.
            max_tokens: longest answer.
            temperature: 0 is the likeliest answer.
            seed: for servers that take one.
            extra: further fields of the request: {"max_completion_tokens": 120}.
            omit: fields that the server does not take: ["response_format", "seed", "temperature"].
            version: what the model's name does not say about it, such as the date of its weights; enters the
                revision, so a new one asks everything again. The address does not: one model may move.
            cache: folder of answers; empty for ``data/answers`` below the workspace.
            prompt_price: per million tokens read.
            completion_price: per million tokens written.
        """
        self.endpoint = Endpoint(
            url=url,
            model=model,
            api_key_env=api_key_env,
            concurrency=concurrency,
            requests_per_minute=requests_per_minute,
            timeout=timeout,
            retries=retries,
            backoff=backoff,
        )
        self._chat = ChatEndpoint(self.endpoint)
        self._prompt = read_prompt(self.prompt)
        self._fields = self._request_fields(max_tokens, temperature, seed, extra or {}, omit)
        self._version = version
        self._cache = AnswerCache(Path(cache).expanduser() if cache else Workspace.default().data / "answers")
        self._prices = (prompt_price, completion_price)
        self.usage = Usage()
        self._lock = threading.Lock()
        asked = value_digest([model, self._fields, version])[:12]
        self.revision = library_revision(1, {"model": _slug(model), "prompt": self._prompt.version, "asked": asked})

    def answer(self, conversations: Sequence[Sequence[Message]]) -> list[str | RowRejected]:
        """The text that answers each conversation, or why there is none.

        Raises:
            BackendError: the server cannot be used. What was answered before is kept.
        """
        stop, answers = threading.Event(), Usage()
        pool = ThreadPoolExecutor(max_workers=min(self.endpoint.concurrency, max(len(conversations), 1)))
        try:
            futures = [pool.submit(self._ask, list(turns), stop, answers) for turns in conversations]
            wait(futures, return_when=FIRST_EXCEPTION)
        finally:
            stop.set()  # nobody asks for a result that nobody waits for
            pool.shutdown(cancel_futures=True)
            charge(answers.cost)
            self._log()
        failed = [error for future in futures if not future.cancelled() and (error := future.exception())]
        if failed:
            raise next((error for error in failed if not isinstance(error, CancelledError)), failed[0])
        return [future.result() for future in futures]

    def _ask(self, turns: list[Message], stop: threading.Event, call: Usage) -> str | RowRejected:
        if stop.is_set():
            raise CancelledError
        body = {"model": self.endpoint.model, "messages": turns, **self._fields}
        question = {"prompt": self._prompt.version, "version": self._version, "body": self._kept_question(body)}
        try:
            answer, stored = self._cache.get(question, lambda: self._chat.ask(body, stop))
            self._count(answer, stored, call)
            return _text(answer)
        except RowRejected as rejected:
            return rejected
        except BackendError:
            stop.set()
            raise
        except OSError as error:
            raise BackendError(
                f"answers must be kept, but {self._cache.folder} cannot be used ({error}): free space or set cache"
            ) from error

    def _kept_question(self, body: dict[str, Any]) -> dict[str, Any]:
        """What of a request names its answer on disk."""
        return body

    def _count(self, answer: Answer, stored: bool, call: Usage) -> None:
        """Add an answer to what this object has used, and to what one call of it has."""
        prompt_price, completion_price = self._prices
        cost = (answer.prompt_tokens * prompt_price + answer.completion_tokens * completion_price) / 1e6
        with self._lock:
            for usage in (self.usage, call):
                if stored:
                    usage.num_cached += 1
                    continue
                usage.num_requests += 1
                usage.prompt_tokens += answer.prompt_tokens
                usage.completion_tokens += answer.completion_tokens
                usage.cost += cost

    def _log(self) -> None:
        usage = self.usage
        _LOGGER.info(
            "%s openai so far: %d answers, %d more from disk, %d tokens read, %d written, cost %.4f",
            *(
                self.role,
                usage.num_requests,
                usage.num_cached,
                usage.prompt_tokens,
                usage.completion_tokens,
                usage.cost,
            ),
        )

    def _request_fields(
        self, max_tokens: int, temperature: float, seed: int, extra: Mapping[str, Any], omit: Sequence[str]
    ) -> dict[str, Any]:
        """The request's fields beside model and messages."""
        if not 1 <= max_tokens <= 100_000 or not 0 <= temperature <= 2:
            raise BackendError(
                f"max_tokens must be 1 to 100000 and temperature 0 to 2. Got {max_tokens} and {temperature}"
            )
        schema = {"name": self.schema_name, "strict": True, "schema": dict(self.schema)}
        fields = {
            "max_tokens": max_tokens,
            "temperature": temperature,
            "seed": seed,
            "response_format": {"type": "json_schema", "json_schema": schema},
        }
        unknown = sorted(set(omit) - set(fields))
        own = sorted(set(extra) & {*_OWN_FIELDS})
        if unknown or isinstance(omit, str):
            raise BackendError(f"omit must be a list of some of {', '.join(fields)}. Got {omit!r}")
        if own:
            raise BackendError(f"extra must not set {own[0]!r}, which is set here")
        return {name: value for name, value in fields.items() if name not in omit} | dict(extra)


def _text(answer: Answer) -> str:
    """The text of an answer.

    Raises:
        RowRejected: BAD_INSTRUCTION: refused or cut.
    """
    if answer.refusal or answer.finish == "content_filter":
        raise RowRejected(Reason.BAD_INSTRUCTION, f"refusal: the model refused: {answer.refusal or answer.finish}")
    if answer.finish == "length":
        raise RowRejected(Reason.BAD_INSTRUCTION, "answer: cut off at max_tokens")
    return answer.text


def _slug(model: str) -> str:
    """The model's last name, of letters that a revision may hold."""
    return re.sub(r"[^A-Za-z0-9._-]", "-", model.rstrip("/").rpartition("/")[2])[:60]
