"""How commands end, and what of somebody else's text they print."""

import subprocess
import sys
from typing import Any

import pytest

from catalog.command_line import run
from catalog.errors import ConfigError
from catalog.reports import text_table


def test_a_reader_that_has_seen_enough_is_no_error() -> None:
    """`python -m catalog ... | head -1` ends without a word."""
    program = "from catalog.command_line import run; import sys\nsys.exit(run(lambda _: print('x\\n' * 10**6) or 0))"
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None and process.stderr is not None
    process.stdout.readline()
    process.stdout.close()
    assert process.stderr.read() == b"" and process.wait(30) == 141
    process.stderr.close()


def test_what_somebody_wrote_does_not_command_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    table = text_table(["detail"], [["result \x1b[31mx.png\x07"]])
    assert "\x1b" not in table and r"result \x1b[31mx.png\x07" in table

    def fail(_: Any) -> int:
        raise ConfigError("no file \x1b]0;title\x07\nsecond line")

    assert run(fail, []) == 2
    assert capsys.readouterr().err == "error: no file \\x1b]0;title\\x07\nsecond line\n"
