"""Duplicates: the same photo twice, exactly (digest) or nearly (perceptual hash, features), and benchmark images.

Photos are the images that sources give; what a build makes from them is no duplicate of anything.
"""

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from catalog.digests import bytes_digest
from catalog.errors import ConfigError, MixError, RowRejected
from catalog.images import decode_image
from catalog.manifests import read_manifest
from catalog.perceptual_hash import difference_hash, near_hashes
from catalog.queries import fetch_rows, load_sql, open_database, open_table
from catalog.roots import Roots, read_image_bytes
from catalog.schema import PAIRS, REQUESTS
from catalog.source_files import read_source_file
from catalog.store import STORE_ROOT
from catalog.workspace import Workspace

NEAR_BITS = 4
"""Differing bits of 64 up to which two photos count as near duplicates."""
NEAR_COSINE = 0.98
"""Cosine of features from which two photos count as near duplicates."""
_BLOCK = 1024  # rows of a block of the similarity matrix


@dataclass(frozen=True, kw_only=True)
class Photo:
    """One distinct photo of some builds, or one benchmark image."""

    sha256: str
    hash: int
    """`perceptual_hash.difference_hash`."""
    names: tuple[str, ...]
    """Where it occurs: "dataset: path"; more than one is an exact duplicate."""
    groups: tuple[str, ...] = ()
    """Digests of the photos that it belongs to: source, target and cut-outs of one photo are no duplicates."""


def list_photos(workspace: Workspace, builds: Sequence[str]) -> tuple[list[dict[str, Any]], Roots]:
    """The distinct photos of usable pairs, by digest: ``image``, ``names``, ``groups``; and where they are here.

    Raises:
        ShardError: no such build, or a torn shard.
    """
    manifests = [read_manifest(workspace, build) for build in builds]
    with open_database() as connection:
        for table, schema in (("pairs", PAIRS), ("requests", REQUESTS)):
            paths = dict.fromkeys(path for manifest in manifests for path in manifest.paths(workspace, table))
            open_table(connection, table, list(paths), schema)
        rows = fetch_rows(connection, load_sql("photos"))
    roots = Roots.read(workspace.roots_path) if workspace.roots_path.exists() else Roots({})
    return rows, Roots({STORE_ROOT: workspace.data, **roots.folders})


def read_photos(workspace: Workspace, builds: Sequence[str]) -> tuple[list[Photo], dict[str, str]]:
    """The distinct photos of usable pairs, by digest; and of those that cannot be read, digest and why.

    Raises:
        ShardError: no such build, or a torn shard.
    """
    rows, roots = list_photos(workspace, builds)
    photos: list[Photo] = []
    unread: dict[str, str] = {}
    with ThreadPoolExecutor() as pool:  # decoding leaves the interpreter to others
        for row, value in zip(rows, pool.map(lambda row: _hash(roots, row["image"]), rows), strict=True):
            digest = row["image"]["sha256"]
            if isinstance(value, RowRejected):
                unread[digest] = str(value)
            else:
                found = {name: tuple(row[name]) for name in ("names", "groups")}
                photos.append(Photo(sha256=digest, hash=value, **found))
    return photos, unread


def _hash(roots: Roots, image: Mapping[str, Any]) -> int | RowRejected:
    try:
        return difference_hash(decode_image(read_image_bytes(roots, image)))
    except RowRejected as rejected:
        return rejected


def exact_duplicates(photos: Iterable[Photo]) -> list[Photo]:
    """Photos that occur under more than one name, within a source or across."""
    return [photo for photo in photos if len(photo.names) > 1]


def near_duplicates(photos: Sequence[Photo], radius: int = NEAR_BITS) -> list[tuple[str, str]]:
    """Digests of each two photos of different groups whose hashes differ in at most ``radius`` bits, sorted."""
    hashes = _hashes(photos)
    pairs = near_hashes(hashes, hashes, radius)
    digests = [photo.sha256 for photo in photos]
    groups = [frozenset(photo.groups) for photo in photos]
    return sorted(
        {(digests[i], digests[j]) for i, j in pairs if digests[i] < digests[j] and groups[i].isdisjoint(groups[j])}
    )


def near_by_features(
    digests: Sequence[str], features: NDArray[np.float32], minimum: float = NEAR_COSINE
) -> list[tuple[str, str]]:
    """Digests of each two photos whose features (N, D), of length 1, have a cosine of at least ``minimum``, sorted."""
    found = set()
    for start in range(0, len(features), _BLOCK):
        for other in range(start, len(features), _BLOCK):
            cosines = features[start : start + _BLOCK] @ features[other : other + _BLOCK].T
            for i, j in np.argwhere(cosines >= minimum):
                one, two = digests[start + i], digests[other + j]
                if one != two:
                    found.add((min(one, two), max(one, two)))
    return sorted(found)


def barred_photos(photos: Sequence[Photo], barred: Mapping[str, int | None], radius: int = NEAR_BITS) -> dict[str, str]:
    """Photos that are a barred image or look like one: digest to the barred digest, sorted.

    Args:
        photos: of the builds that a mix draws from.
        barred: digest to hash, as `read_barred` gives it.
        radius: differing bits that still count as the same picture.
    """
    found = {photo.sha256: photo.sha256 for photo in photos if photo.sha256 in barred}
    hashed = [(digest, value) for digest, value in barred.items() if value is not None]
    pairs = near_hashes(_hashes(photos), np.array([value for _, value in hashed], np.uint64), radius)
    for i, j in pairs:
        found.setdefault(photos[i].sha256, hashed[j][0])
    return dict(sorted(found.items()))


def photos_that_look_barred(
    workspace: Workspace, builds: Sequence[str], looks: Sequence[tuple[int, str]]
) -> dict[str, str]:
    """Photos of builds that look like barred images, given as (hash, digest): digest to the barred one's.

    Reads and decodes every photo of the builds, but none where ``looks`` is empty.

    Raises:
        MixError: a photo cannot be read, so nobody knows what it looks like.
    """
    if not looks:
        return {}
    photos, unread = read_photos(workspace, builds)
    if unread:
        first = next(iter(unread.values()))
        raise MixError(
            f"every photo must be readable to be compared with barred images, but {len(unread)} are not ({first}): "
            "bring them back, or bar by SHA-256 alone"
        )
    return barred_photos(photos, {digest: value for value, digest in looks})


def list_barred(folder: Path) -> list[str]:
    """Lines of a list of barred images: digest, hash and path of each image below a folder, by path.

    Raises:
        ConfigError: no folder, or a file in it that is no readable image.
    """
    if not folder.is_dir():
        raise ConfigError(
            f"benchmark images must be in a folder, but {folder} is none: give the folder that holds them"
        )
    lines = []
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        name = path.relative_to(folder).as_posix()
        try:
            data = read_source_file(folder, name)
            value = difference_hash(decode_image(data))
        except RowRejected as rejected:
            raise ConfigError(
                f"{path} must be an image ({rejected}): take it out of the folder or mend it"
            ) from rejected
        lines.append(f"{bytes_digest(data)} {value:016x} {name.encode('unicode_escape').decode()}")
    return lines


def read_barred(path: Path) -> dict[str, int | None]:
    """Digest to hash (None where a line has none) of a list that `list_barred` or ``sha256sum`` made.

    Raises:
        MixError: not readable, or a line without a digest.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError as error:
        raise MixError(f"there is no list of barred images at {path}: name another, or leave it out") from error
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise MixError(f"the list of barred images {path} cannot be read ({why}): mend it or name another") from error
    found: dict[str, int | None] = {}
    for number, line in enumerate(lines, start=1):
        words = line.partition("#")[0].lower().split()
        if not words:
            continue
        if len(words[0]) != 64 or not _is_hex(words[0]):
            raise MixError(f"{path}, line {number}: a SHA-256 has 64 hexadecimal digits. Got {words[0]!r:.80}")
        hashed = len(words) > 1 and len(words[1]) == 16 and _is_hex(words[1])
        found[words[0]] = int(words[1], 16) if hashed else None
    return found


def _hashes(photos: Iterable[Photo]) -> NDArray[np.uint64]:
    return np.array([photo.hash for photo in photos], np.uint64)


def _is_hex(word: str) -> bool:
    return set(word) <= set("0123456789abcdef")


def as_dict(photos: Sequence[Photo], unread: Mapping[str, str], radius: int) -> dict[str, Any]:
    """The duplicates among photos as JSON values."""
    names = {photo.sha256: list(photo.names) for photo in photos}
    near = near_duplicates(photos, radius)
    return {
        "num_photos": len(photos),
        "exact": [{"sha256": photo.sha256, "names": list(photo.names)} for photo in exact_duplicates(photos)],
        "near": [{"sha256": list(pair), "names": [*names[pair[0]], *names[pair[1]]]} for pair in near],
        "unread": dict(unread),
    }
