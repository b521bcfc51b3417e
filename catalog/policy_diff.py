"""Which pairs a second policy accepts or rejects otherwise than a first one, and by which condition."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from catalog.decisions import Changes, Decision, compare, decide, decision_name
from catalog.errors import PolicyError, ShardError
from catalog.manifests import Manifest, list_manifests, read_manifest
from catalog.policies import Policy
from catalog.queries import fetch_rows, load_sql, open_database, open_table
from catalog.schema import VERDICTS
from catalog.workspace import Workspace


@dataclass(frozen=True, kw_only=True)
class PolicyDiff:
    """Two decisions about the same pairs."""

    first: Decision
    second: Decision
    changes: Changes
    moves: dict[tuple[str | None, str | None], int]
    """(what rejects a pair in the first, in the second; None: accepted) to number of pairs. Sums to all pairs."""

    def as_dict(self) -> dict[str, Any]:
        """The difference as JSON values, with every pair that changes."""
        moves = [{"first": one, "second": two, "num_pairs": count} for (one, two), count in self.moves.items()]
        return {
            "build": self.first.build,
            "first": self.first.policy.as_dict(),
            "second": self.second.policy.as_dict(),
            "num_pairs": self.first.num_pairs,
            "num_accepted": [self.first.num_accepted, self.second.num_accepted],
            "newly_accepted": list(self.changes.gained),
            "newly_accepted_by_condition": self.changes.gained_from,
            "newly_rejected": list(self.changes.lost),
            "newly_rejected_by_condition": self.changes.lost_to,
            "moves": moves,
        }


def find_policy(workspace: Workspace, build: str, name: str) -> Policy:
    """The policy of a file, or the last decided version of a policy of that name.

    Raises:
        PolicyError: neither is there, or the file is malformed.
    """
    if _is_file(name):
        return Policy.read(Path(name))
    decided = decision_name(build, name)
    if decided not in list_manifests(workspace):
        raise PolicyError(
            f"{name!r} must be a policy file or the name of a policy decided on {build!r}: give the path of a TOML "
            "file, or run `python -m catalog decide` first"
        )
    return Policy.from_dict(read_manifest(workspace, decided).parameters["policy"])


def find_decision(workspace: Workspace, build: str, name: str, threads: int | None = None) -> Manifest:
    """What the policy of a file decides, or the decision on record of a policy of that name. None on record changes.

    Raises:
        PolicyError: neither is there, or the file is malformed.
        ShardError: no such build, or a torn shard.
    """
    policy = find_policy(workspace, build, name)
    if _is_file(name):
        return decide(workspace, build, policy, threads, on_record=False).manifest
    return read_manifest(workspace, decision_name(build, name))


def find_replaced(workspace: Workspace, build: str, policy: Policy) -> Policy | None:
    """The policy of the decision on record that deciding now would replace; None: no other conditions or scorers.

    A decision's name is the build's and the policy's, without its version.
    """
    name = decision_name(build, policy.name)
    if name not in list_manifests(workspace):
        return None
    try:
        found = Policy.from_dict(read_manifest(workspace, name).parameters["policy"])
    except ShardError:  # of another version of the schema: it cannot be read any more
        return None
    same = (found.conditions, dict(found.scorers)) == (policy.conditions, dict(policy.scorers))
    return None if same else found


def diff_policies(
    workspace: Workspace,
    build: str,
    first: Policy,
    second: Policy,
    threads: int | None = None,
    memory_limit: str | None = None,
) -> PolicyDiff:
    """Decide both, unless that is done, and compare pair by pair. No decision on record changes.

    Raises:
        ShardError: no such build, or a torn shard.
        PolicyError: the build has pairs that a policy looks at, and no scores.
    """
    decisions = [decide(workspace, build, policy, threads, on_record=False) for policy in (first, second)]
    manifests = [decision.manifest for decision in decisions]
    with open_database(threads, memory_limit) as connection:
        for name, manifest in zip(("before", "after"), manifests, strict=True):
            open_table(connection, name, manifest.paths(workspace, "verdicts"), VERDICTS)
        rows = fetch_rows(connection, load_sql("verdict_moves"))
    return PolicyDiff(
        first=decisions[0],
        second=decisions[1],
        changes=compare(workspace, *manifests),
        moves={(row["first"], row["second"]): row["num_pairs"] for row in rows},
    )


def _is_file(name: str) -> bool:
    return Path(name).suffix == ".toml" or Path(name).is_file()
