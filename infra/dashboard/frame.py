"""What every page stands in: the workspace, its state, errors as sentences, empty states, the corner that shows SQL."""

import os
from collections.abc import Callable, Sequence
from functools import wraps
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import streamlit as st

from catalog.command_line import explain_system_error, printable
from catalog.errors import UserError
from catalog.manifests import Manifest, list_manifests, read_manifest
from catalog.people import MAX_NAME, trim_name
from catalog.schema import TABLES
from catalog.workspace import Workspace
from infra.dashboard.components import leave_on_enter
from infra.dashboard.pictures import Pictures
from infra.dashboard.questions import Question, Rows, ask

NUM_COLUMNS = 12
_NAME = "Your name"


def workspace() -> Workspace:
    """The workspace that is shown: $IEIW_HOME, else the working directory."""
    return Workspace.default()


@st.cache_resource
def _pictures(home: str) -> Pictures:
    return Pictures(workspace())


def pictures() -> Pictures:
    """The pictures of the workspace."""
    return _pictures(str(workspace().home))


def page(show: Callable[[], None]) -> Callable[[], None]:
    """A page whose errors are sentences: what is damaged or missing, and what to do."""

    @wraps(show)
    def framed() -> None:
        try:
            show()
        except UserError as error:
            tell("This cannot be shown.", str(error), kind="error")
        except OSError as error:
            tell("This cannot be shown.", explain_system_error(error), kind="error")

    return framed


def tell(title: str, text: str, command: str | None = None, kind: str = "info") -> None:
    """A notice in plain text, with the command that helps.

    Args:
        title: our own words, without Markdown.
        text: may hold anything.
        command: to be copied.
        kind: info, warning or error.
    """
    with st.container(border=True):
        {"info": st.info, "warning": st.warning, "error": st.error}[kind](title, icon=_ICONS[kind])
        if text:
            st.text(printable(text))
        if command:
            st.code(command, language="bash")


_ICONS = {"info": ":material/info:", "warning": ":material/warning:", "error": ":material/error:"}


def answer(question: Question, *, corner: bool = True) -> Rows:
    """The rows of a question; its SQL joins those that the page's corner shows."""
    if corner:
        asked: list[Question] = st.session_state.setdefault("_asked", [])
        if question not in asked:
            asked.append(question)
    return ask(question)


def begin(title: str, subtitle: str) -> None:
    """The head of a page."""
    st.session_state["_asked"], st.session_state["_corners"] = [], 0
    st.title(title, anchor=False)
    st.caption(subtitle)


def sql_corner(label: str = "Show SQL") -> None:
    """Every statement behind the numbers above, since the last corner; sent to the browser only when asked for."""
    asked: list[Question] = st.session_state.get("_asked", [])
    st.session_state["_asked"] = []
    if not asked:
        return
    st.session_state["_corners"] = place = st.session_state.get("_corners", 0) + 1
    if st.toggle(label, key=f"sql_{place}"):
        st.caption("Each number above is an answer to one of these; DuckDB on this machine gives the same.")
        for question in asked:
            st.code(question.statement(), language="sql", wrap_lines=True)


def choose(
    label: str,
    options: Sequence[str],
    key: str,
    names: Callable[[str], str] = str,
    index: int = 0,
    *,
    row: bool = False,
) -> str:
    """A choice that is part of the page's address, ``?<key>=<option>``, unless it is the usual one.

    Args:
        label: of the control.
        options: at least one; an address that names another is as if it named none.
        key: unique among all pages' choices that are not the same choice.
        names: what an option is called on the page.
        index: the usual option.
        row: show all options in a row, without the label.
    """
    usual = options[index]
    wanted, seen = st.query_params.get(key), f"_address_of_{key}"
    if key not in st.session_state or wanted != st.session_state.get(seen):  # first time, or the address has changed
        st.session_state[key] = usual if wanted is None else wanted
    if st.session_state[key] not in options:
        st.session_state[key] = usual
    if row:
        found = st.segmented_control(
            label, list(options), required=True, format_func=names, key=key, label_visibility="collapsed"
        )
    else:
        found = st.selectbox(label, list(options), format_func=names, key=key)
    if found != usual:
        st.query_params[key] = str(found)
    else:
        st.query_params.pop(key, None)
    st.session_state[seen] = st.query_params.get(key)
    return str(found)


def builds(root: Workspace) -> tuple[list[Manifest], list[str]]:
    """Builds with pairs, and what is wrong with manifests that cannot be read."""
    found, problems = [], []
    for name in list_manifests(root):
        try:
            manifest = read_manifest(root, name)
        except UserError as error:
            problems.append(str(error))
            continue
        if "pairs" in manifest.tables:
            found.append(manifest)
    return found, problems


def choose_build(root: Workspace) -> Manifest | None:
    """The build that a page is about; where there is none, the page says what to run."""
    found, problems = builds(root)
    for problem in problems:
        tell("A manifest cannot be read.", problem, kind="warning")
    if not found:
        _say_no_build(root)
        return None
    names = [manifest.name for manifest in found]
    name = choose("Build", names, "build", index=names.index("build-ieiw") if "build-ieiw" in names else 0)
    return found[names.index(name)] if name in names else found[0]


def _say_no_build(root: Workspace) -> None:
    shards = {table: len(list(root.table_folder(table).glob("*.parquet"))) for table in TABLES}
    begun = {table: count for table, count in shards.items() if count}
    if begun:
        counts = ", ".join(f"{count} of {table}" for table, count in begun.items())
        tell(
            "A build is under way, or was stopped.",
            f"Finished shards so far: {counts}. A build is listed when its last shard is done; the same command goes "
            f"on where it stopped.\n{root.home}",
            "prefect deployment run build-ieiw",
            kind="warning",
        )
        return
    tell(
        "Nothing has been built here yet.",
        f"{root.home} holds no tables. The demo builds some from packaged photos in a few minutes; another folder is "
        "named by IEIW_HOME.",
        "make demo",
    )


def number(value: Any) -> str:
    """A count with its thousands apart."""
    return "–" if value is None else f"{value:,}"


def share(part: float, whole: float) -> str:
    """A part in percent."""
    return "–" if not whole else f"{100 * part / whole:.1f} %"


def short(value: float | None, digits: int = 4) -> str:
    """A number in few digits."""
    return "–" if value is None else f"{value:.{digits}g}"


def person() -> str:
    """The name under which answers are recorded, as its owner gave it on this page or in the address.

    Proposed is who runs the dashboard, where it listens on this machine alone: elsewhere visitors are others.
    """
    default = os.environ.get("USER", "") if _is_loopback(st.get_option("server.address")) else ""
    st.session_state.setdefault("person", st.query_params.get("person", default if default != "root" else ""))
    with st.container(gap=None):
        name: str = st.text_input(
            _NAME, key="person", max_chars=MAX_NAME, bind="query-params", placeholder="who answers"
        )
        leave_on_enter(_NAME, key="person_typed")
    return trim_name(name)


def signed(value: int) -> str:
    """A change of a count; what is less has the sign that removed pairs have on all pages."""
    return f"{value:+,}".replace("-", "−")


def damage(path: Path, error: UserError, remedy: str) -> str:
    """What is wrong with a file that no build makes: building again, which the store advises, would not mend it.

    Args:
        path: of the file.
        error: from reading it.
        remedy: for a file of its kind.
    """
    if error.__cause__ is None:  # whole, and not what this page is about: nothing to be made again
        return str(error)
    what = str(error.__cause__).partition("\n")[0]
    return f"{path} cannot be read ({what}): {remedy}"


def _is_loopback(address: str | None) -> bool:
    try:
        return address == "localhost" or ip_address(address or "").is_loopback
    except ValueError:  # another host's name, or none: all addresses
        return False
