"""An OpenAI-compatible chat endpoint: one question in, one answer out, within bounds that the caller sets.

The server is not trusted: its bodies are read up to a limit, its times are bounded, its JSON is checked field by
field. The key of the API is read from the environment when a request is made; it is in no message, file or name.
"""

import email.utils
import json
import logging
import os
import threading
import time
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import httpx

from catalog.errors import BackendError, RowRejected
from catalog.reasons import Reason
from tasks.backends.answer_cache import Answer
from tasks.phrases import one_line

MAX_BODY = 1 << 20
"""Bytes of a server's answer that are read."""
MAX_WAIT = 600.0
"""Seconds; a server that asks to wait longer ends the run, whose rerun goes on where it stopped."""
_LONGEST_BACKOFF = 60.0
_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_TRANSIENT = {408, 409, 425, 429, 500, 502, 503, 504, 520, 522, 524, 529}
_OWN_FAULT = ("context_length", "context length", "too long", "content_filter", "content management", "content_policy")
"""What a refusal says when the question itself was at fault, not the endpoint or its settings."""

_LOGGER = logging.getLogger(__name__)


class _Transient(Exception):
    """Worth another try; ``wait`` is what the server asks for, in seconds."""

    def __init__(self, problem: str, wait: float | None = None) -> None:
        super().__init__(problem)
        self.wait = wait


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """Where a chat model is and how it may be asked."""

    url: str
    """Base address, such as http://127.0.0.1:8000/v1."""
    model: str
    api_key_env: str = ""
    """Name of the environment variable that holds the key; empty: no key is sent."""
    concurrency: int = 4
    """Requests under way at once, in this process."""
    requests_per_minute: float = 0.0
    """0: as many as `concurrency` allows."""
    timeout: float = 60.0
    """Seconds for a whole request."""
    retries: int = 5
    """Further tries after a failure that may pass: 429, 5xx, a broken connection, silence."""
    backoff: float = 1.0
    """Seconds before the first further try; doubled each time, up to a minute. ``Retry-After`` goes before it."""

    def __post_init__(self) -> None:
        address = urlsplit(self.url if isinstance(self.url, str) else "")
        if address.scheme not in ("http", "https") or not address.hostname or address.query or address.username:
            raise BackendError(
                "url must be the http or https address of an OpenAI-compatible server without a name, password or "
                f"query in it, such as http://127.0.0.1:8000/v1. Got {_hidden(self.url)!r}"
            )
        if not isinstance(self.model, str) or not self.model.strip():
            raise BackendError(f"model must be the name that the server at {self.url} knows. Got {self.model!r}")
        if not isinstance(self.api_key_env, str) or (self.api_key_env and not self.api_key_env.isidentifier()):
            raise BackendError("api_key_env must be the name of an environment variable, not the key itself")
        if not 1 <= self.concurrency <= 256 or not 0 <= self.retries <= 100:
            raise BackendError(
                f"concurrency must be 1 to 256 and retries 0 to 100. Got {self.concurrency} and {self.retries}"
            )
        if not (0 <= self.requests_per_minute < 1e6 and 0 < self.timeout <= 3600 and 0 <= self.backoff <= 60):
            raise BackendError(
                "requests_per_minute must be 0 or more, timeout in (0, 3600] and backoff in [0, 60]. "
                f"Got {self.requests_per_minute}, {self.timeout} and {self.backoff}"
            )

    @property
    def address(self) -> str:
        """Where chat requests go."""
        base = self.url.rstrip("/")
        return base if base.endswith("/chat/completions") else f"{base}/chat/completions"


class ChatEndpoint:
    """Asks one endpoint from any number of threads."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self._slots = threading.BoundedSemaphore(endpoint.concurrency)
        self._pace = _Pace(60.0 / endpoint.requests_per_minute if endpoint.requests_per_minute else 0.0)
        loopback = urlsplit(endpoint.url).hostname in _LOOPBACK
        self._client = httpx.Client(
            timeout=endpoint.timeout,
            trust_env=not loopback,  # a proxy is for other machines
            limits=httpx.Limits(max_connections=endpoint.concurrency),
            headers={"Accept": "application/json", "Accept-Encoding": "identity"},
        )

    def ask(self, body: dict[str, Any], stop: threading.Event | None = None) -> Answer:
        """One chat completion.

        Args:
            body: the request as JSON.
            stop: set by the caller when another request has found the server dead: no further try is made.

        Raises:
            BackendError: the server is not there, refuses the key, does not know the model, or stays broken.
            RowRejected: this question or its answer is at fault: BACKEND_FAILED or BAD_OUTPUT.
        """
        stop = stop or threading.Event()
        wait = self.endpoint.backoff
        for attempt in range(self.endpoint.retries + 1):
            try:
                with self._slots:
                    self._pace.wait(stop)
                    return self._ask_once(body)
            except _Transient as problem:
                if problem.wait is not None and problem.wait > MAX_WAIT:
                    raise BackendError(
                        f"{self.endpoint.address} asks to wait {problem.wait:.0f} seconds: run the same command again "
                        "then, answered questions are kept"
                    ) from problem
                if attempt == self.endpoint.retries or stop.is_set():
                    tries = f"{attempt + 1} {'try' if attempt == 0 else 'tries'}"
                    raise BackendError(
                        f"{self.endpoint.address} gives no answer after {tries} ({problem}): see that the server runs, "
                        "then run the same command again"
                    ) from problem
                _LOGGER.info("%s: %s, trying again", self.endpoint.address, problem)
                if problem.wait is not None:
                    self._pace.hold(problem.wait)
                else:
                    stop.wait(wait)
                    wait = min(2 * wait, _LONGEST_BACKOFF)
        raise AssertionError("the last try returns or raises")

    def _ask_once(self, body: dict[str, Any]) -> Answer:
        deadline = time.monotonic() + self.endpoint.timeout
        try:
            with self._client.stream("POST", self.endpoint.address, json=body, headers=self._key()) as response:
                content = _read(response, deadline)
        except httpx.TimeoutException as error:
            raise _Transient(f"silent for {self.endpoint.timeout:g} seconds") from error
        except httpx.TransportError as error:
            raise _Transient(one_line(str(error)) or type(error).__name__) from error
        if response.status_code != 200:
            raise self._refusal(response, content)
        if "json" not in response.headers.get("content-type", "").lower():
            kind = response.headers.get("content-type", "no type")[:80]
            raise BackendError(
                f"{self.endpoint.address} answers with {kind!r} instead of JSON: url must be the "
                "base address of its API, which often ends in /v1"
            )
        return _parse(content)

    def _key(self) -> dict[str, str]:
        name = self.endpoint.api_key_env
        if not name:
            return {}
        key = os.environ.get(name, "").strip()
        if not key or not key.isascii() or not key.isprintable():
            raise BackendError(f"api_key_env names {name}, which must hold the key of {self.endpoint.url}: set it")
        return {"Authorization": f"Bearer {key}"}

    def _refusal(self, response: httpx.Response, content: bytes) -> Exception:
        """What an answer other than 200 means: another try, the end of the run, or this row's reason."""
        endpoint, status = self.endpoint, response.status_code
        said = self._said(content)
        if status in (401, 403):
            key = f"the key in {endpoint.api_key_env}" if endpoint.api_key_env else "a request without key"
            hint = "check it" if endpoint.api_key_env else "set api_key_env to the name of a variable that holds one"
            return BackendError(f"{endpoint.url} refuses {key} ({status}{said}): {hint}")
        if "insufficient_quota" in said:
            return BackendError(f"{endpoint.url} has no credit left for this key ({status}{said})")
        if status in _TRANSIENT:
            return _Transient(f"status {status}{said}", _retry_after(response.headers.get("retry-after")))
        # "pinned to" is how the server of transformers says that it serves another model
        if status == 404 or (status in (400, 422) and ("model_not_found" in said or "pinned to" in said)):
            return BackendError(
                f"{endpoint.address} knows no model {endpoint.model!r} or is no chat endpoint ({status}{said}): check "
                "url and model"
            )
        if status in (400, 413, 422) and (status == 413 or any(words in said.lower() for words in _OWN_FAULT)):
            return RowRejected(Reason.BACKEND_FAILED, f"the server refuses this question: {status}{said}")
        return BackendError(
            f"{endpoint.address} refuses the request ({status}{said}): leave out what it does not take with the "
            "option omit, or check url"
        )

    def _said(self, content: bytes) -> str:
        """The server's own words, a line of at most 200 characters, never with the key in it."""
        text = content.decode("utf-8", "replace")
        try:
            error: Any = json.loads(text)
        except (ValueError, RecursionError):
            error = None  # its bytes as text say as much
        if isinstance(error, dict):
            error = error.get("error", error.get("detail", error))
        if isinstance(error, dict):
            text = " ".join(str(error[name]) for name in ("code", "message") if error.get(name)) or text
        key = os.environ.get(self.endpoint.api_key_env, "").strip() if self.endpoint.api_key_env else ""
        words = one_line(text.replace(key, "***") if key else text)[:200]
        return f": {words}" if words else ""


class _Pace:
    """When the next request may start."""

    def __init__(self, interval: float) -> None:
        self._interval = interval  # seconds between two starts
        self._next = 0.0
        self._lock = threading.Lock()

    def wait(self, stop: threading.Event) -> None:
        while True:
            with self._lock:
                now = time.monotonic()
                if now >= self._next or stop.is_set():
                    self._next = max(now, self._next) + self._interval
                    return
                remaining = self._next - now
            stop.wait(remaining)

    def hold(self, seconds: float) -> None:
        """Nobody starts for this long: the server said so to one, and means all."""
        with self._lock:
            self._next = max(self._next, time.monotonic() + seconds)


def _read(response: httpx.Response, deadline: float) -> bytes:
    if response.headers.get("content-encoding", "identity").lower() != "identity":
        raise RowRejected(Reason.BAD_OUTPUT, "the server compresses its answer although it was asked not to")
    content = bytearray()
    for chunk in response.iter_raw():
        content += chunk
        if len(content) > MAX_BODY:
            raise RowRejected(Reason.BAD_OUTPUT, f"the server's answer is over {MAX_BODY} bytes")
        if time.monotonic() > deadline:
            raise httpx.ReadTimeout("the answer comes too slowly")
    return bytes(content)


def _retry_after(header: str | None) -> float | None:
    """Seconds that a ``Retry-After`` header asks for, a number or a date; None for neither."""
    if not header:
        return None
    try:
        seconds = float(header)
    except ValueError:
        try:
            seconds = email.utils.parsedate_to_datetime(header).timestamp() - time.time()
        except (TypeError, ValueError, OverflowError):
            return None
    return max(seconds, 0.0) if seconds == seconds else None


def _parse(content: bytes) -> Answer:
    """The fields of a chat completion that are used, each checked."""
    try:
        value = json.loads(content)
        choice = value["choices"][0]
        message = choice["message"]
        text, refusal = message.get("content") or "", message.get("refusal") or ""
        finish, usage = choice.get("finish_reason") or "", value.get("usage") or {}
        tokens = [usage.get(name) or 0 for name in ("prompt_tokens", "completion_tokens")]
    except (ValueError, RecursionError, LookupError, TypeError, AttributeError) as error:
        raise RowRejected(Reason.BAD_OUTPUT, "the server's answer is no chat completion") from error
    if not all(isinstance(part, str) for part in (text, refusal, finish)):
        raise RowRejected(Reason.BAD_OUTPUT, "the server's answer holds something else than text")
    if not all(type(count) is int and 0 <= count < 1 << 40 for count in tokens):
        raise RowRejected(Reason.BAD_OUTPUT, f"the server counts its tokens as {str(tokens)[:80]}")
    return Answer(text, finish[:40], refusal[:1000], *tokens)


def _hidden(url: Any) -> str:
    """``url`` for a message, without what may be a password."""
    text = str(url)
    return f"{text.partition('://')[0]}://…" if "@" in text or "?" in text else text[:200]
