"""One line of progress on standard error: written over on a terminal, a new line now and then in a log."""

import sys
import time
from types import TracebackType

_TERMINAL_SECONDS = 0.1
_LOG_SECONDS = 10.0


class ProgressLine:
    """Shows the last thing said, and takes it away at the end."""

    def __init__(self) -> None:
        self._is_terminal = sys.stderr.isatty()
        self._last = 0.0

    def __enter__(self) -> "ProgressLine":
        self._last = time.monotonic()
        return self

    def say(self, text: str, *, is_last: bool = False) -> None:
        """Show ``text``, unless the last one is too recent; of the last one of its kind always."""
        now = time.monotonic()
        if not is_last and now - self._last < (_TERMINAL_SECONDS if self._is_terminal else _LOG_SECONDS):
            return
        self._last = now
        if self._is_terminal:
            sys.stderr.write(f"\r\033[K{text}")
            sys.stderr.flush()
        else:
            sys.stderr.write(text + "\n")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._is_terminal:
            sys.stderr.write("\r\033[K")
