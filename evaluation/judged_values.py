"""What a judge says of predictions: means of its numbers, and how many answers are missing and why."""

from collections import Counter
from collections.abc import Sequence

from catalog.errors import PredictionError, RowRejected
from evaluation.cases import Case
from evaluation.judge import SCORES, EditJudge, JudgedEdit
from evaluation.measured import Metric, Values, image_of
from evaluation.metrics import Image
from tasks.backends.registry import backend_id


class JudgedValues:
    """Collects judgements. An answer that is none has its reason, and is counted, never guessed."""

    def __init__(self, judge: EditJudge, max_unanswered: float) -> None:
        self._judge, self._max_unanswered = judge, max_unanswered
        self._values = {name: Values() for name in SCORES}
        self._unanswered = Values()
        self._reasons: Counter[str] = Counter()
        self._num_asked = 0

    def observe(self, cases: Sequence[Case], predictions: Sequence[Image]) -> None:
        """Ask about one batch."""
        asked = [
            JudgedEdit(case.sample.source, prediction, case.sample.instruction)
            for case, prediction in zip(cases, predictions, strict=True)
        ]
        for case, found in zip(cases, self._judge.judge(asked), strict=True):
            missing = isinstance(found, RowRejected)
            self._num_asked += 1
            self._unanswered.add(image_of(case), float(missing))
            if isinstance(found, RowRejected):
                self._reasons[found.detail] += 1
                continue
            for name in SCORES:
                self._values[name].add(image_of(case), float(getattr(found, name)))

    def metrics(self) -> list[Metric]:
        """Means over the answers, and the share of samples without one.

        Raises:
            PredictionError: more are missing than may be.
        """
        missing = sum(self._reasons.values())
        if missing > self._max_unanswered * self._num_asked:
            reason, count = self._reasons.most_common(1)[0]
            raise PredictionError(
                f"the judge must answer for all but {self._max_unanswered:.1%} of {self._num_asked} predictions. Got "
                f"{missing} without an answer, {count} of them for this reason: {reason}"
            )
        identity = backend_id("judge", self._judge)
        named = [values.metric(f"judge_{name}", identity) for name, values in self._values.items()]
        return [*named, self._unanswered.metric("judge_unanswered", identity)]
