"""The one way to run any step on any shard: keyed by content, found where it exists.

Any scheduler may run these calls in any order that `tasks.build_plan` allows, on any number of workers, again after
a kill, and the bytes are the same.
"""

import importlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import cache
from typing import Any

import pyarrow as pa

from catalog.attempts import attempt_key
from catalog.digests import canonical_json, value_digest
from catalog.errors import ConfigError
from catalog.roots import Roots
from catalog.store import Shard, ShardWriter, read_entry, read_metadata, read_rows, shard_key, write_shard
from catalog.workspace import Workspace
from tasks.backends.registry import backend_id, load_backend
from tasks.listing import open_source
from tasks.profiles import Profile, Source
from tasks.source_images import file_sizes
from tasks.steps import STEPS, Produce, Row, Step, StepContext


class Call:
    """One step on its input shards, keyed by content: `find` looks for the output, `run` makes it.

    Args:
        name: a key of `STEPS`.
        workspace: where shards live.
        profile: parameters and backends; only what the step declares enters the content key.
        inputs: shards of the table that the step reads; one, but for a gathering step.
        extra: further inputs by table name, as the step declares.
        retry: make a further attempt where rows of the output failed for a passing reason (`catalog.attempts`).

    Raises:
        UserError: a backend, profile or shard is not right.
        OSError: an input cannot be read.
    """

    def __init__(
        self,
        name: str,
        workspace: Workspace,
        profile: Profile,
        inputs: Sequence[Shard],
        extra: Mapping[str, Shard] | None = None,
        *,
        retry: bool = False,
    ) -> None:
        self._step = step = STEPS[name]
        self._workspace, self._profile, self._inputs = workspace, profile, inputs
        self._extra = dict(sorted((extra or {}).items()))
        assert tuple(self._extra) == step.extra, f"{name} needs {step.extra} beside its input"
        self._backends = {role: load_role(profile, role) for role in step.roles}
        self._ids = tuple(sorted(backend_id(role, backend) for role, backend in self._backends.items()))
        self._source = find_source(workspace, profile, inputs[0]) if step.reads == "listings" else None
        parameters = step_parameters(step, profile, self._source)
        digests = [shard.sha256 for shard in [*inputs, *self._extra.values()]]
        if self._source and self._source.root:
            digests.append(value_digest(file_sizes(open_source(self._source), self._rows())))
        key = shard_key(name, parameters, self._ids, digests)
        self._key = attempt_key(workspace, step.writes, key, retry=retry)
        self._metadata = {"step": name, "parameters": parameters, "backends": list(self._ids), "inputs": digests}

    @property
    def device(self) -> str:
        """``cuda`` where a backend of the step runs on a GPU, else ``cpu``."""
        on_gpu = any(backend.device.startswith("cuda") for backend in self._backends.values())
        return "cuda" if on_gpu else "cpu"

    def find(self) -> Shard | None:
        """The output, if it is there. Raises ShardError for a damaged one."""
        if not self._workspace.table_path(self._step.writes, self._key).exists():
            return None
        return read_entry(self._workspace, self._step.writes, self._key)

    def run(self) -> Shard:
        """The output, made now unless it is there.

        Raises:
            UserError: a backend or shard is not right.
            OSError: disk full, folder not writable.
        """
        return write_shard(self._workspace, self._step.writes, self._key, self._produce, self._metadata)

    def _produce(self, writer: ShardWriter) -> Iterable[Row] | pa.Table:
        context = StepContext(
            workspace=self._workspace,
            profile=self._profile,
            source=self._source,
            inputs=tuple(shard.file(self._workspace) for shard in self._inputs),
            rows=self._rows(),
            roots=Roots.read(self._workspace.roots_path),
            backends=self._backends,
            backend_ids=self._ids,
            extra={table: shard.file(self._workspace) for table, shard in self._extra.items()},
        )
        return find_function(self._step)(context, writer)

    def _rows(self) -> Iterator[Row]:
        step = self._step
        columns = {step.reads: step.columns, step.otherwise: step.otherwise_columns}
        return (row for shard in self._inputs for row in read_rows(shard.file(self._workspace), columns[shard.table]))


def load_role(profile: Profile, role: str) -> Any:
    """The backend that a profile names for a role, loaded once per process. Raises UserError."""
    if role not in profile.backends:
        raise ConfigError(f"profile {profile.name!r} names no backend for {role!r}: add it under [backends]")
    options = canonical_json(dict(profile.backend_options.get(role, {})))
    return _load(role, profile.backends[role], options)


@cache
def _load(role: str, name: str, options: str) -> Any:
    """One object per backend and process: weights are loaded once."""
    return load_backend(role, name, **json.loads(options))


def find_source(workspace: Workspace, profile: Profile, listing: Shard) -> Source:
    """The source of a profile that a listing shard is of. Raises ConfigError."""
    dataset = read_metadata(listing.file(workspace))["dataset"]
    for source in profile.sources:
        if source.dataset == dataset:
            return source
    raise ConfigError(f"profile {profile.name!r} has no source {dataset!r}, which a listing shard is of")


def step_parameters(step: Step, profile: Profile, source: Source | None) -> dict[str, Any]:
    """What of a profile a step's result depends on, as its content key and footer have it."""
    parameters: dict[str, Any] = {"version": step.version}
    if step.parameters:
        parameters |= asdict(getattr(profile, step.parameters))
        parameters.pop("batch_size", None)  # a backend gives a batch what it gives its items one by one
    if source:
        parameters |= {"split": asdict(profile.split)}
    return parameters


def find_function(step: Step) -> Produce:
    """The function that makes a step's rows."""
    module, name = step.function.split(":")
    function: Produce = getattr(importlib.import_module(module), name)
    return function
