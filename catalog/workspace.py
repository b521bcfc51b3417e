"""Where everything generated lives: tables under ``catalog/``, image shards under ``data/``, runs under ``runs/``."""

import os
from dataclasses import dataclass
from pathlib import Path

from catalog.errors import ConfigError

HOME_VARIABLE = "IEIW_HOME"


@dataclass(frozen=True)
class Workspace:
    """One folder that holds all generated files. Nothing inside it records the folder's own path."""

    home: Path

    @classmethod
    def default(cls) -> "Workspace":
        """``$IEIW_HOME``, else the working directory.

        Raises:
            ConfigError: it names something that is not a folder.
        """
        home = Path(os.environ.get(HOME_VARIABLE) or Path.cwd()).absolute()
        if home.exists() and not home.is_dir():
            raise ConfigError(f"{HOME_VARIABLE} must name a folder, but {home} is a file: name another or unset it")
        return cls(home)

    @property
    def catalog(self) -> Path:
        """Tables, manifests, mixes."""
        return self.home / "catalog"

    @property
    def data(self) -> Path:
        """The image store: the root named "store"."""
        return self.home / "data"

    @property
    def runs(self) -> Path:
        """Training and evaluation outputs."""
        return self.home / "runs"

    def table_folder(self, table: str) -> Path:
        """Folder of a table's shards."""
        return self.catalog / "tables" / table

    def table_path(self, table: str, key: str) -> Path:
        """Parquet file of one shard: its existence is the commit."""
        return self.table_folder(table) / f"{key}.parquet"

    def tar_path(self, table: str, key: str) -> Path:
        """Tar of one shard's images."""
        return self.data / table / f"{key}.tar"

    def manifest_path(self, name: str) -> Path:
        """The list of shards that one build consists of."""
        return self.catalog / "manifests" / f"{name}.json"

    @property
    def roots_path(self) -> Path:
        """Local folders of the source datasets, by name: the only machine-specific file."""
        return self.catalog / "roots.json"

    @property
    def ledger(self) -> Path:
        """Times and costs of runs (JSON lines): outside the shards, so that shards stay the same bytes."""
        return self.catalog / "ledger"
