"""Options from texts: ``field=value``, as given to ``--set``, for any dataclass of options."""

import ast
import dataclasses
import difflib
import inspect
import itertools
import types
import typing
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import is_dataclass
from typing import Any, TypeVar

from catalog.errors import ConfigError

Options = TypeVar("Options")


def override(options: Options, assignments: Iterable[str], prefix: str = "") -> Options:
    """``options``, a dataclass, with ``field=value`` texts applied, as given to ``--set``.

    Args:
        options: a field that is a dataclass itself is reached by dotted names: ``render.crop``.
        assignments: the texts.
        prefix: what all names begin with where ``options`` is a part of something larger: ``render.``.

    Raises:
        ConfigError: no ``=``, an unknown field, a value of another type or out of range.
    """
    kinds = dict(_leaves(type(options), prefix))
    changes: dict[str, Any] = {}
    for assignment in assignments:
        name, equals, text = assignment.partition("=")
        if not equals:
            known = next(iter(difflib.get_close_matches(assignment, kinds, n=1)), next(iter(kinds)))
            raise ConfigError(f"--set takes field=value, got {assignment!r}: write --set {known}=VALUE")
        name = name.strip()
        value = _parse(kinds, name, text.strip())
        changes[name.removeprefix(prefix)] = value
    changed: Options = _replace(options, changes)
    return changed


def _replace(options: Any, changes: Mapping[str, Any]) -> Any:
    """``dataclasses.replace`` for dotted names."""
    own: dict[str, Any] = {}
    parts: dict[str, dict[str, Any]] = {}
    for name, value in changes.items():
        first, dot, rest = name.partition(".")
        if dot:
            parts.setdefault(first, {})[rest] = value
        else:
            own[name] = value
    return dataclasses.replace(options, **own, **{n: _replace(getattr(options, n), part) for n, part in parts.items()})


def _leaves(kind: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted name and type of each field that is no dataclass itself."""
    for name, inner in typing.get_type_hints(kind).items():
        if is_dataclass(inner):
            yield from _leaves(inner, f"{prefix}{name}.")
        else:
            yield prefix + name, inner


def field_descriptions(kind: Any) -> dict[str, str]:
    """What stands under each field of a dataclass in the sources, on one line each, by dotted name, for ``--help``."""
    return dict(_descriptions(kind))


def _descriptions(kind: Any, prefix: str = "") -> Iterator[tuple[str, str]]:
    inner = {name: hint for name, hint in typing.get_type_hints(kind).items() if is_dataclass(hint)}
    body = ast.parse(inspect.getsource(kind)).body[0]
    assert isinstance(body, ast.ClassDef)
    for field, text in itertools.pairwise(body.body):
        match field, text:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(words))):
                if name in inner:
                    yield from _descriptions(inner[name], f"{prefix}{name}.")
                else:
                    yield prefix + name, " ".join(words.split())


def flat_values(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """A configuration's JSON values by dotted name."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        flat |= flat_values(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {prefix + name: value}
    return flat


def _parse(kinds: Mapping[str, Any], name: str, text: str) -> Any:
    """A field's value from the command line."""
    if name not in kinds:
        close = difflib.get_close_matches(name, kinds, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"the fields are {', '.join(kinds)}"
        raise ConfigError(f"--set must name a field of the configuration, got {name!r}: {hint}")
    kind = kinds[name]
    if kind is bool:
        known = {"true": True, "false": False}
        if text.lower() not in known:
            raise ConfigError(f"{name} must be true or false, got {text!r}: write --set {name}=true")
        return known[text.lower()]
    if kind in (int, float):
        assert isinstance(kind, type) and not isinstance(kind, types.UnionType)
        try:
            return kind(text)
        except ValueError as error:
            what = "a whole number" if kind is int else "a number"
            raise ConfigError(f"{name} must be {what}, got {text!r}: write --set {name}=VALUE") from error
    return text
