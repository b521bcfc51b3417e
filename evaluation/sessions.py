"""Sessions: edits that build on each other, MagicBrush's multi-turn setting (Zhang et al., NeurIPS 2023, section 4).

The first turn edits the photo, each further one what the model made of the turn before; only the last picture is
measured. A session of one turn is that turn.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import replace

from catalog.errors import MixError
from catalog.samples import Sample
from evaluation.metrics import Image

_NUMBERED = re.compile(r"(.*?)(\d+)", re.DOTALL)


def session_places(region_ids: Sequence[str]) -> list[list[int]]:
    """Places of each session's turns, in turn order; sessions in the order of their names.

    Args:
        region_ids: "DATASET/139-output2": a session's name and the turn's number.

    Raises:
        MixError: no number at the end, or a session whose turns are not 1, 2, ... without a gap.
    """
    sessions: dict[str, dict[int, int]] = {}
    for place, region_id in enumerate(region_ids):
        found = _NUMBERED.fullmatch(region_id)
        if found is None:
            raise MixError(f"a turn's id must end in its number. Got {region_id!r}: build the benchmark anew")
        sessions.setdefault(found[1], {})[int(found[2])] = place
    ordered = []
    for name, turns in sorted(sessions.items()):
        if sorted(turns) != list(range(1, len(turns) + 1)):
            raise MixError(
                f"session {name!r} must have its turns from 1 on without a gap. Got {sorted(turns)}: mend the dataset, "
                "a session cannot be edited without one of its turns"
            )
        ordered.append([turns[number] for number in sorted(turns)])
    return ordered


def predict_sessions(
    answer: Callable[[Sequence[Sample]], list[Image]], sessions: Sequence[Sequence[Sample]]
) -> list[Image]:
    """The last picture of each session.

    Args:
        answer: a prediction for each sample.
        sessions: per session its turns, each as it would be asked alone; the source of all but the first is replaced.
    """
    pictures = [turns[0].source for turns in sessions]
    for turn in range(max(map(len, sessions), default=0)):
        going = [place for place, turns in enumerate(sessions) if turn < len(turns)]
        asked = [replace(sessions[place][turn], source=pictures[place]) for place in going]
        for place, picture in zip(going, answer(asked), strict=True):
            pictures[place] = picture
    return pictures
