"""How every command ends: a user's mistake is one sentence on standard error and exit status 2."""

import errno
import os
import sys
from collections.abc import Callable, Mapping, Sequence

from catalog.errors import ConfigError, UserError

Command = Callable[[Sequence[str]], int]
"""Arguments to exit status."""

_SYSTEM_ERRORS = {
    errno.ENOSPC: "the disk is full: free some space and run the same command again; finished shards are kept",
    errno.EDQUOT: "the disk quota is used up: free some space and run the same command again",
    errno.EFBIG: "a file would become too large for a limit of this system (ulimit -f): raise it and run again",
    errno.EACCES: "permission denied: make the folder writable or set IEIW_HOME to one that is",
    errno.ENOENT: "no such file or folder: check the path or name another place",
    errno.ENOTDIR: "a file stands where a folder is needed: remove it or name another place",
    errno.EEXIST: "something else stands where this must be written: remove it or name another place",
    errno.EISDIR: "a folder stands where a file is needed: remove it or name another place",
    errno.ENAMETOOLONG: "a name is too long for this file system: choose a shorter one",
    errno.EMFILE: "too many files are open for a limit of this system (ulimit -n): raise it and run again",
    errno.EROFS: "the file system is read-only: set IEIW_HOME to a writable folder",
}

_PIPE_CLOSED = 141  # as a shell has it: 128 + SIGPIPE


def printable(text: str) -> str:
    """A text from somebody's data with what would command the terminal escaped; line breaks stay."""
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() or one == "\n" else repr(one)[1:-1] for one in text)


def explain_system_error(error: OSError) -> str:
    """What the system refused, with what to do about it where that is known."""
    advice = _SYSTEM_ERRORS.get(error.errno or 0)
    place = f" ({error.filename})" if error.filename else ""
    return f"{advice or error.strerror or error}{place}"


def dispatch(program: str, about: str, commands: Mapping[str, Command], arguments: Sequence[str]) -> int:
    """Run one subcommand and return its exit status; with none, or ``--help``, list them.

    Args:
        program: how it is started: ``python -m tasks``.
        about: what stands above the list.
        commands: subcommand to what runs it; the first line of its module's docstring says what it does.
        arguments: the subcommand and its own.

    Raises:
        ConfigError: no such subcommand.
    """
    name, *rest = arguments or ["--help"]
    if name in ("-h", "--help"):
        width = max(map(len, commands)) + 1
        abouts = {
            name: (sys.modules[one.__module__].__doc__ or "").partition("\n")[0] for name, one in commands.items()
        }
        lines = "".join(f"  {name:<{width}} {line}\n" for name, line in abouts.items())
        sys.stdout.write(f"usage: {program} COMMAND ... (each has --help)\n\n{about}\n{lines}")
        return 0
    if name not in commands:
        raise ConfigError(f"a subcommand of `{program}` must be one of {', '.join(commands)}. Got {name!r}")
    return commands[name](rest)


def hush_libraries() -> None:
    """Keep advice of the model libraries off the terminal; they read this when they are imported."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("DIFFUSERS_VERBOSITY", "error")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")


def run(command: Callable[[Sequence[str]], int], arguments: Sequence[str] | None = None) -> int:
    """Run ``command`` on ``arguments`` (default: those of the process) and return its exit status."""
    try:
        status = command(sys.argv[1:] if arguments is None else arguments)
        sys.stdout.flush()
        return status
    except BrokenPipeError:  # whoever read the output has seen enough (`| head`)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _PIPE_CLOSED
    except UserError as error:
        sys.stderr.write(f"error: {printable(str(error))}\n")
        return 2
    except OSError as error:
        sys.stderr.write(f"error: {printable(explain_system_error(error))}\n")
        return 2
    except KeyboardInterrupt:
        sys.stderr.write("stopped; run the same command again to go on\n")
        return 130
