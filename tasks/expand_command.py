"""Multiply instruction templates, by a language model or by our grammar, for a person to review.

    python -m tasks expand --output my_templates
    python -m tasks expand --by openai --set url=http://127.0.0.1:8000/v1 --set model=qwen --output my_templates
    python -m tasks expand deblurring --by transformers --set weights=/models/chat --target 30 --output my_templates
    torchrun trainer/main.py --set render.wording=my_templates ...

Writes NAME.txt, which is used as it is, and NAME.json: prompt, model and every proposal with the reason why it was
dropped (slots lost, a near-duplicate, not plain English, text for somebody else). Read the .txt and delete what is bad.
Answers of an endpoint are kept below data/answers: the same command again asks nothing twice.
"""

import argparse
import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from catalog.errors import ConfigError
from catalog.instruction_templates import SLOTS
from catalog.outputs import check_output_folder
from catalog.render_styles import TEMPLATES
from catalog.reports import text_table
from tasks.chat_proposer import ChatProposer, OpenAIRewriter, TransformersRewriter
from tasks.grammar_proposer import GrammarProposer
from tasks.replay_command import parse_settings
from tasks.template_expansion import Expansion, Proposer, expand, write_expansion
from tasks.text_diversity import distinct_ngrams

TARGET = 70
_DEFAULTS: dict[str, dict[str, Any]] = {
    "openai": {"max_tokens": 1500, "temperature": 0.8},
    "transformers": {"max_new_tokens": 1000},
}
"""Other than an instructor's: an answer holds several sentences, which should differ."""
_MAKERS: dict[str, Callable[..., Any]] = {
    "grammar": GrammarProposer,
    "openai": OpenAIRewriter,
    "transformers": TransformersRewriter,
}


def main(arguments: Sequence[str]) -> int:
    """Expand the named templates, or all; exit status 0, or 1 where one did not reach its target."""
    options = _parse(arguments)
    check_output_folder(options.output)
    names = options.name or list(SLOTS)
    proposer = make_proposer(options.by, parse_settings(options.set))
    expansions = []
    for name in names:
        expansion = expand(name, proposer, options.target, options.templates, progress=_progress)
        write_expansion(expansion, proposer.facts, options.output)
        expansions.append(expansion)
    sys.stderr.write("\n")
    sys.stdout.write(f"{table(expansions)}\n\nwritten to {options.output}: review the .txt files, then\n")
    sys.stdout.write(f"  --set render.wording={options.output}\n")
    return 0 if all(len(one.added) == options.target for one in expansions) else 1


def make_proposer(by: str, settings: Mapping[str, Any]) -> Proposer:
    """Who proposes: grammar, openai or transformers, with options of its own.

    Raises:
        ConfigError: an unknown proposer or option.
        BackendError: an option out of range, or weights that cannot be used.
    """
    if by not in _MAKERS:
        raise ConfigError(f"templates are expanded by one of {', '.join(_MAKERS)}. Got {by!r}")
    known = [name for name in inspect.signature(_MAKERS[by]).parameters if name != "self"]
    if unknown := sorted(set(settings) - set(known)):
        raise ConfigError(f"{by} has no option {unknown[0]!r}; its options are: {', '.join(known)}")
    made = _MAKERS[by](**{**_DEFAULTS.get(by, {}), **settings})
    if by == "grammar":
        return made  # type: ignore[no-any-return]
    return ChatProposer(made, str(settings.get("model" if by == "openai" else "weights", "")))


def table(expansions: Sequence[Expansion]) -> str:
    """One line per template file: how many, what was dropped, how diverse."""
    rows = []
    for one in expansions:
        counts = one.counts()
        dropped = ", ".join(f"{rule} {count}" for rule, count in counts.items() if rule != "kept") or "-"
        rows.append([one.name, len(one.written), counts["kept"], dropped, f"{distinct_ngrams(one.sentences, 2):.2f}"])
    return text_table(["task", "by hand", "added", "dropped", "distinct-2"], rows)


def _progress(name: str, added: int, target: int) -> None:
    sys.stderr.write(f"\r{name}: {added} of {target} ")
    sys.stderr.flush()


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    plain = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog="python -m tasks expand", description=__doc__, formatter_class=plain)
    parser.add_argument("name", nargs="*", help=f"template files (default: {', '.join(SLOTS)})")
    parser.add_argument("--by", default="grammar", help=f"{', '.join(_MAKERS)} (default: %(default)s)")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="option of it; repeatable")
    parser.add_argument(
        "--target", type=int, default=TARGET, help="sentences to add to those by hand (default: %(default)s)"
    )
    parser.add_argument("--templates", type=Path, default=TEMPLATES, help="folder of those by hand (default: ours)")
    parser.add_argument("--output", type=Path, required=True, metavar="FOLDER", help="where the files go")
    return parser.parse_args(arguments)
