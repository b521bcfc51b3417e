"""A run's figures on Weights & Biases, beside the Parquet log and TensorBoard; only where the configuration asks."""

from typing import Any

import numpy as np

from catalog.digests import value_digest
from catalog.errors import ConfigError
from trainer.config import TrainingConfig
from trainer.run_folder import RunFolder

_ID_LENGTH = 16


class WandbLog:
    """One run there for one run folder: a resumed run goes on in it.

    Steps that a kill undid are sent again, with the same figures.

    Args:
        folder: the run's; offline data goes below it.
        config: ``config.wandb`` names the project.

    Raises:
        ConfigError: the library is missing, or refuses to start (no login, no connection).
    """

    def __init__(self, folder: RunFolder, config: TrainingConfig) -> None:
        try:
            import wandb
        except ImportError as error:
            raise ConfigError(
                f"wandb={config.wandb} needs the wandb library: `pip install 'ieiw[wandb]'`, or leave the field empty"
            ) from error
        self._wandb: Any = wandb
        place = folder.path.resolve()
        try:
            self._run: Any = wandb.init(
                project=config.wandb,
                dir=str(place),
                id=value_digest([str(place), config.recipe, config.seed])[:_ID_LENGTH],
                name=place.name,
                config=config.to_json(),
                resume="allow",
                settings=wandb.Settings(console="off", silent=True, save_code=False, disable_git=True),
            )
        except wandb.Error as error:
            raise ConfigError(
                f"Weights & Biases must take project {config.wandb!r}, but said: {error}. Log in with `wandb login`, "
                "set WANDB_MODE=offline, or leave the field wandb empty"
            ) from error

    def add(self, row: dict[str, Any]) -> None:
        """Send one step's numbers."""
        figures = {name: value for name, value in row.items() if isinstance(value, int | float) and name != "step"}
        self._run.log(figures, step=row["step"])

    def add_picture(self, step: int, picture: np.ndarray) -> None:
        """Send a picture, uint8 (H, W, 3)."""
        self._run.log({"edits": self._wandb.Image(picture)}, step=step)

    def close(self) -> None:
        """Wait until everything is sent, or on disk where offline."""
        self._run.finish()
