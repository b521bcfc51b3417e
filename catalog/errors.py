"""Every error a user can cause, one tree::

    UserError(ValueError)         one clear sentence: the rule, the value, the remedy; exit status 2
    ├── SourceError               a source dataset's folder or annotation file is not as documented
    ├── RowRejected               one row cannot be used; carries a Reason; never leaves its step
    ├── ShardError                a stored shard or manifest is missing, torn or foreign
    ├── PolicyError               a policy file is malformed or names an unknown score
    ├── MixError                  a mix file is malformed, empty or does not match what a run expects
    ├── BackendError              a helper model is unknown, incomplete or its weights are not right
    ├── ConfigError               a training or evaluation option is out of range
    ├── CheckpointError           a checkpoint is torn, foreign or belongs to another mix
    ├── TrainingError             a training run cannot go on: its loss is not finite
    └── PredictionError           a prediction is missing, of the wrong size or type, or not finite

``assert`` is for invariants of our own code only.
"""

from catalog.reasons import Reason


class UserError(ValueError):
    """Something the user can mend. The message is one sentence fit for a terminal."""


class SourceError(UserError):
    """A source dataset's folder or annotation file is not as documented."""


class RowRejected(UserError):
    """One row cannot be used. A step turns it into a row with ``reason`` and ``detail``."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


class ShardError(UserError):
    """A stored shard or manifest is missing, torn or foreign."""


class PolicyError(UserError):
    """A policy file is malformed or names an unknown score."""


class MixError(UserError):
    """A mix file is malformed, empty or does not match what a run expects."""


class BackendError(UserError):
    """A helper model is unknown, incomplete or its weights are not right."""


class ConfigError(UserError):
    """A training or evaluation option is out of range."""


class TrainingError(UserError):
    """A training run cannot go on: its loss is not finite."""


class CheckpointError(UserError):
    """A checkpoint is torn, foreign or belongs to another mix."""


class PredictionError(UserError):
    """A prediction is missing, of the wrong size or type, or not finite."""
