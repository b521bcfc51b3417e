"""Where training runs go by default: a run belongs to its mix, so its folder is named after both."""

from pathlib import Path

from catalog.digests import file_digest
from catalog.errors import MixError
from catalog.workspace import Workspace


def default_run_folder(workspace: Workspace, mix: Path, recipe: str) -> Path:
    """``runs/RECIPE-XXXXXXXX``: the first digits of the mix's digest. Another mix is another run.

    Raises:
        MixError: no such mix.
    """
    if not mix.is_file():
        raise MixError(f"no mix at {mix}: make it with `prefect deployment run build-mix`")
    return workspace.runs / f"{recipe}-{file_digest(mix)[:8]}"
