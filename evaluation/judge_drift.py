"""Does a judge still judge as it did? Fixed anchor pairs, asked anew each time, beside what it said of them at first.

A model behind an endpoint may be changed under its name. The first time, the anchors' answers are written down in
``catalog/judges/<revision>.json``, if they are in an order that no judge can miss; every later evaluation asks them
again, past all caches, and is refused where they moved.
"""

import json
import re
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, astuple, dataclass
from pathlib import Path

import numpy as np

from catalog.durable import write_file
from catalog.errors import BackendError, RowRejected
from catalog.ledger import utc_now
from catalog.workspace import Workspace
from evaluation.judge import EditJudge, JudgedEdit, Judgement, JudgeSettings
from evaluation.metrics import Image

MAX_MEAN_DRIFT = 1.0
"""Points of 10: mean absolute difference over all anchors and scores."""
MAX_DRIFT = 3.0
"""Points of 10 that a single score may move."""
_SIDE = 256
_ASKED = "add a large red square in the upper left corner"


@dataclass(frozen=True)
class Anchor:
    """A pair whose judgement is known in kind."""

    name: str
    edit: JudgedEdit


def anchors() -> list[Anchor]:
    """Edits of two packaged photos: done, not done, done to another scene, and noise. The same pixels every time."""
    found = []
    for name, photo in _photos().items():
        done = _with_square(photo)
        noise = np.random.default_rng(0).integers(0, 256, photo.shape, dtype=np.uint8)
        kinds = {"done": done, "unchanged": photo, "elsewhere": _with_square(photo[::-1, ::-1].copy()), "noise": noise}
        found += [Anchor(f"{name}/{kind}", JudgedEdit(photo, made, _ASKED)) for kind, made in kinds.items()]
    return found


def check_drift(workspace: Workspace, settings: JudgeSettings, *, accept: bool = False) -> EditJudge:
    """The judge, after it judged the anchors as it did before.

    Args:
        workspace: keeps what it said at first.
        settings: of the judge.
        accept: write down what it says now, whatever it said before: a new beginning, not comparable with the old.

    Raises:
        BackendError: the server cannot be used; an anchor without a judgement; an order that no judge can miss is
            missed; or the answers moved.
    """
    judge, known = settings.load(), anchors()
    with tempfile.TemporaryDirectory() as empty:
        answers = settings.load(cache=empty).judge([one.edit for one in known])
    found = [_answered(one, answer) for one, answer in zip(known, answers, strict=True)]
    path = _path(workspace, judge)
    if path.is_file() and not accept:
        _compare(judge, known, _read(path, len(known)), found)
        return judge
    _check_order(known, found)
    said = [{"anchor": one.name, **asdict(answer)} for one, answer in zip(known, found, strict=True)]
    facts = {"revision": judge.revision, "recorded_at": utc_now(), "answers": said}
    write_file(path, [json.dumps(facts, indent=1).encode()])
    return judge


def _photos() -> dict[str, Image]:
    from PIL import Image as PillowImage
    from skimage import data

    return {
        name: np.asarray(PillowImage.fromarray(getattr(data, name)()).convert("RGB").resize((_SIDE, _SIDE)))
        for name in ("astronaut", "coffee")
    }


def _with_square(photo: Image) -> Image:
    marked = photo.copy()
    marked[16:96, 16:96] = (220, 20, 20)
    return marked


def _answered(anchor: Anchor, answer: Judgement | RowRejected) -> Judgement:
    if isinstance(answer, RowRejected):
        raise BackendError(
            f"the judge must judge each anchor pair, but gave none for {anchor.name} ({answer}): take a model that "
            "sees images and answers in JSON"
        )
    return answer


def _check_order(known: Sequence[Anchor], found: Sequence[Judgement]) -> None:
    """What is done follows more than what is not, and so on. Raises BackendError for a judge that misses it."""
    said = {one.name: answer for one, answer in zip(known, found, strict=True)}
    for photo in _photos():
        done, unchanged, elsewhere, noise = (
            said[f"{photo}/{kind}"] for kind in ("done", "unchanged", "elsewhere", "noise")
        )
        rules = {
            "an edit that was done follows more than none": done.following > unchanged.following,
            "an unchanged picture keeps more than noise": unchanged.keeping > noise.keeping,
            "an edit in place keeps more than one of a turned scene": done.keeping > elsewhere.keeping,
            "a photo looks better than noise": unchanged.quality > noise.quality,
        }
        for rule, holds in rules.items():
            if not holds:
                raise BackendError(f"a judge must know that {rule}, but says otherwise of {photo}: take another model")


def _compare(judge: EditJudge, known: Sequence[Anchor], before: Sequence[Judgement], now: Sequence[Judgement]) -> None:
    moves = np.abs(np.array([astuple(one) for one in before], float) - np.array([astuple(one) for one in now], float))
    if moves.mean() <= MAX_MEAN_DRIFT and moves.max() <= MAX_DRIFT:
        return
    worst = known[int(moves.max(axis=1).argmax())].name
    limits = f"{MAX_MEAN_DRIFT:g} or {MAX_DRIFT:g}"
    raise BackendError(
        f"the judge {judge.endpoint.model} has drifted: its scores of the anchors moved by {moves.mean():.2f} points "
        f"in the mean and by up to {moves.max():.0f} ({worst}), more than {limits}. Pin the model, or begin anew with "
        "--accept-drift and compare nothing with earlier numbers"
    )


def _path(workspace: Workspace, judge: EditJudge) -> Path:
    return workspace.catalog / "judges" / f"{re.sub(r'[^A-Za-z0-9._-]', '-', judge.revision)}.json"


def _read(path: Path, count: int) -> list[Judgement]:
    try:
        answers = json.loads(path.read_bytes())["answers"]
        found = [Judgement(*(int(one[name]) for name in ("following", "keeping", "quality"))) for one in answers]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BackendError(f"{path} must hold what the judge said of the anchors: delete it, and begin anew") from error
    if len(found) != count:
        raise BackendError(f"{path} must hold {count} anchors. Got {len(found)}: delete it, and begin anew")
    return found
