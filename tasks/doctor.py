"""Doctor: are the helper models of a profile all there, whole, loadable, and do they know what they must know?"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from catalog.errors import UserError
from tasks.backends.protocols import InstructionRequest
from tasks.backends.registry import ROLES
from tasks.doctor_facts import FACTS, FactError, answers, hole, read_photos
from tasks.doctor_files import USUAL_BYTES, FileReport, check_files
from tasks.profiles import Profile
from tasks.step_calls import load_role

OK, FAILED, SKIPPED = "ok", "FAILED", "skipped"
_SERVED = ("openai", "lama-cleaner", "iopaint")
_TINY = "known facts need real weights: these have {size:,} bytes, published ones of {name!r} over {usual:,}"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What one check of one backend came to."""

    role: str
    backend: str
    check: str
    """``files``, ``loads``, ``runs`` or ``known fact``."""
    outcome: str
    detail: str

    def as_dict(self) -> dict[str, Any]:
        """The fields as JSON values."""
        return asdict(self)


def examine(profile: Profile, roles: Sequence[str] = ()) -> Iterator[Finding]:
    """Check the backends of a profile one after the other, in registry order; a check that fails ends its backend's.

    Args:
        profile: names and options of the backends.
        roles: which of them; none: all that the profile names.
    """
    for role in ROLES:
        if role in profile.backends and (not roles or role in roles):
            yield from _examine_role(profile, role)


def _examine_role(profile: Profile, role: str) -> Iterator[Finding]:
    name, options = profile.backends[role], profile.backend_options.get(role, {})
    if name in _SERVED:  # whoever asks waits for an answer: a server that is down is down at the first try
        options = {**options, "retries": 0}
        profile = replace(profile, backend_options={**profile.backend_options, role: options})

    def finding(check: str, outcome: str, detail: str) -> Finding:
        return Finding(role=role, backend=name, check=check, outcome=outcome, detail=detail)

    files = check_files(name, options)
    if files.problems:
        yield from (finding("files", FAILED, problem) for problem in files.problems)
        return
    yield finding("files", OK if files.files else SKIPPED, _describe(files))
    try:
        backend = load_role(profile, role)
    except (UserError, ImportError) as error:
        yield finding("loads", FAILED, str(error))
        return
    yield finding("loads", OK, f"{backend.name}@{backend.revision} on {backend.device}")
    try:
        yield finding("runs", OK, _run(role, backend, profile))
    except UserError as error:
        yield finding("runs", FAILED, str(error))
        return
    embedder, obstacle = None, _too_small(name, files)
    if role == "quality_scorer" and not obstacle:
        embedder, obstacle = _load_embedder(profile)
    if obstacle:
        yield finding("known fact", SKIPPED, obstacle)
        return
    try:
        yield finding("known fact", OK, FACTS[role](backend, embedder))
    except UserError as error:
        yield finding("known fact", FAILED, str(error))


def _too_small(name: str, files: FileReport) -> str:
    """Why nothing can be asked of some weights; empty where it can."""
    usual = USUAL_BYTES.get(name, 0)
    return _TINY.format(size=files.num_bytes, name=name, usual=usual) if files.num_bytes < usual else ""


def _load_embedder(profile: Profile) -> tuple[Any, str]:
    """The embedder that a quality scorer is judged with, and why it cannot be; its own faults are its own findings."""
    name = profile.backends.get("embedder", "")
    files = check_files(name, profile.backend_options.get("embedder", {}))
    if files.problems:
        return None, "asked with the profile's embedder, whose files are not right"
    if tiny := _too_small(name, files):
        return None, tiny
    try:
        return load_role(profile, "embedder"), ""
    except (UserError, ImportError) as error:
        return None, f"asked with the profile's embedder, which does not load: {error}"


def _describe(files: FileReport) -> str:
    if not files.files:
        return "it has no weights"
    checked = f", {files.num_checked} by a known digest" if files.num_checked else ""
    return f"{len(files.files)} files, {files.num_bytes:,} bytes{checked}"


def _run(role: str, backend: Any, profile: Profile) -> str:
    """Call the backend once on packaged photos; whatever it answers must be of the role's form."""
    photos = list(read_photos().values())
    masks = [hole(photo) for photo in photos]
    captions = ["a photo"] * len(photos)
    request = InstructionRequest(edit_type="object_removal", phrase="red cup", label="cup", attributes=("red",))
    columns: dict[str, list[Any]] = {
        "inpainter": [photos, masks],
        "replacer": [photos[:1], masks[:1], photos[1:2]],
        "embedder": [photos],
        "captioner": [photos, [["object"]] * len(photos), [[]] * len(photos)],
        "instructor": [[request]],
        "aesthetic_scorer": [photos],
        "pair_similarity": [photos, photos, captions, captions],
        "caption_editor": [["a dog on a bench"], ["remove the dog"]],
        "feature_similarity": [photos, photos],
        "perceptual_distance": [photos, photos],
    }
    if role == "index":
        index = backend.empty()
        vectors = np.eye(8, dtype=np.float32)
        index.expect(len(vectors), vectors[:0])
        index.add(vectors)
        return f"{index.search(vectors, 1)[1].shape[0]} vectors searched"
    if role == "quality_scorer":
        features = np.eye(8, dtype=np.float32)
        answers(role, backend, features[:2], shared={"references": features[2:].copy()})
        return "2 vectors scored"
    try:
        found = answers(role, backend, *columns[role])
    except FactError as error:
        if role in ("instructor", "caption_editor") and "bad_instruction" in str(
            error
        ):  # it answered; whether sensibly is a known fact
            return "1 request, answered with no instruction"
        raise
    return f"{len(found)} {'request' if role == 'instructor' else 'photos'}"
