"""Removes what builds, mixes and runs made, and nothing else: datasets, downloads and paid answers stay."""

import shutil
from pathlib import Path

from catalog.schema import TABLES
from catalog.workspace import Workspace

_OF_CATALOG = ("tables", "manifests", "ledger", "forecasts", "reports", "roots.json")


def find_generated(workspace: Workspace) -> list[Path]:
    """Folders and files that the code can make again, sorted: of ``data`` only the folders of our own tables.

    Other folders below ``data`` are the user's (datasets, weights) or were not free (answers of a language model,
    files fetched from the web).
    """
    places = [workspace.catalog / name for name in _OF_CATALOG]
    places += sorted(workspace.catalog.glob("*.parquet"))
    places += [workspace.data / table for table in TABLES]
    places += [workspace.runs, workspace.home / ".dashboard"]
    return sorted(place for place in places if place.exists() or place.is_symlink())


def remove_generated(workspace: Workspace) -> list[Path]:
    """Remove what `find_generated` finds and return it. A link is removed, never what it points to."""
    places = find_generated(workspace)
    for place in places:
        if place.is_dir() and not place.is_symlink():
            shutil.rmtree(place)
        else:
            place.unlink()
    return places
