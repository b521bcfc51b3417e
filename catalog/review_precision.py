"""How precise each filter is, estimated from review labels.

The precision of a condition is the share of the pairs that it rejects which deserve it; of a policy, the share of the
accepted pairs that are good. Labels count where chance drew the pair (`review_labels.next_pair`). Intervals are Clopper
and Pearson's ("The use of confidence or fiducial limits", Biometrika 1934), which hold at any number of labels; as a
stratum's pairs are drawn without being put back, they are, if anything, too wide.
"""

from dataclasses import dataclass

from scipy import stats

from catalog.manifests import Manifest
from catalog.queries import fetch_rows, load_sql, open_database, open_table
from catalog.review_labels import open_reviews, verdicts_key
from catalog.schema import VERDICTS
from catalog.workspace import Workspace

LEVEL = 0.95


@dataclass(frozen=True, kw_only=True)
class Precision:
    """How often people agree with one condition, or with the policy's acceptances."""

    condition: str | None
    """None: the accepted pairs."""
    num_pairs: int
    """That the condition rejects, or the policy accepts."""
    num_right: int
    """Labelled pairs of which most people say so too."""
    num_wrong: int
    num_open: int
    """Labelled pairs without a vote: people divided, or unsure."""
    num_people: int

    @property
    def num_votes(self) -> int:
        """Pairs that the estimate rests on."""
        return self.num_right + self.num_wrong

    @property
    def value(self) -> float | None:
        """The share, [0, 1]; None without a vote."""
        return self.num_right / self.num_votes if self.num_votes else None

    @property
    def interval(self) -> tuple[float, float]:
        """95 %; without a vote anything is possible, with every pair labelled nothing is left to chance."""
        if self.num_votes and self.num_votes == self.num_pairs:
            return self.num_right / self.num_votes, self.num_right / self.num_votes
        return exact_interval(self.num_right, self.num_votes)


def exact_interval(num_right: int, num_votes: int) -> tuple[float, float]:
    """Clopper and Pearson's interval of a share at 95 %."""
    if not num_votes:
        return 0.0, 1.0
    found = stats.binomtest(num_right, num_votes).proportion_ci(LEVEL, method="exact")
    return float(found.low), float(found.high)


def estimate_precision(workspace: Workspace, decision: Manifest) -> list[Precision]:
    """The accepted pairs first, then every reason and condition that rejects any, by name.

    Raises:
        ShardError: the verdicts are gone or torn.
    """
    with open_database() as connection:
        open_table(connection, "verdicts", decision.paths(workspace, "verdicts"), VERDICTS)
        open_reviews(connection, workspace, decision.parameters["build"])
        rows = fetch_rows(connection, load_sql("review_precision"), verdicts=verdicts_key(decision))
    return [Precision(**row) for row in rows]
