"""Replay of a photo request's first step: photo and result placed on each other and cut to their frame once more."""

import tempfile
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

from catalog.errors import ShardError, UserError
from catalog.lineage import Lineage, Place, Row
from catalog.manifests import read_manifest
from catalog.roots import Roots
from catalog.schema import REQUESTS
from catalog.store import STORE_ROOT, ShardWriter
from catalog.workspace import Workspace
from tasks.photo_requests.collection import VERSION
from tasks.photo_requests.crawl_settings import MatchParameters
from tasks.photo_requests.records import TABLE
from tasks.photo_requests.row_matching import match_group
from tasks.profiles import Profile
from tasks.readers.photo_requests import EDIT_TYPE, PhotoRequestsReader
from tasks.replay_comparison import Difference, StepReplay, compare_rows, mapping_differences

STEP = "match_requests"


def replay_match(lineage: Lineage, profile: Profile, roots: Roots, pair: Row) -> StepReplay | None:
    """Match a pair's photo and result again, from the pictures as they were fetched; None for other kinds of pairs.

    Args:
        lineage: of the build that has the pair.
        profile: of the build; its source says where the crawl is, should the build not list it.
        roots: where the build's images are.
        pair: row of ``pairs``.

    Raises:
        ShardError: neither the build nor the source's crawl has the request.
    """
    if pair["edit_type"] != EDIT_TYPE:
        return None
    crawl, place = _find_request(lineage, profile, pair)
    recorded, footer = place.row, crawl.footer(place.shard)
    done = StepReplay(step=STEP, table=TABLE, row=recorded["result_id"])
    if not crawl.is_unchanged(place.shard):
        note = f"{place.shard.path} has changed"
        done.differences.append(Difference(what="shard", recorded=place.shard.sha256, now="other bytes", note=note))
    parameters = dict(footer["parameters"])
    done.differences += mapping_differences("parameter", {"version": parameters.pop("version")}, {"version": VERSION})
    pictures = Roots({**roots.folders, STORE_ROOT: crawl.workspace.data})
    try:
        _compare(done, recorded, MatchParameters(**parameters), pictures)
    except (UserError, OSError, TypeError) as error:
        done.differences.append(Difference(what="step", recorded="ran", now="cannot run", note=str(error)))
    return done


def _compare(done: StepReplay, recorded: Row, parameters: MatchParameters, roots: Roots) -> None:
    # The row as it was before matching, with the one photo that the result was found to be of.
    row: dict[str, Any] = {name: recorded[name] for name in REQUESTS.names if name not in ("photo", "photo_image")}
    row |= dict.fromkeys(("source_image", "target_image", "transform", "num_inliers", "alike_share"))
    row |= {"photos": [recorded["photo"]], "photo_images": [recorded["photo_image"]]}
    with ExitStack() as stack:
        scratch = Workspace(Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ieiw-replay-"))))
        writer = stack.enter_context(closing(ShardWriter(scratch, TABLE, "replay")))
        (made,) = match_group([row], roots, parameters, writer)
        writer.finish()
        full = {name: made.get(name) for name in REQUESTS.names}
        compare_rows(done, recorded, full, roots, Roots({STORE_ROOT: scratch.data}))


def _find_request(lineage: Lineage, profile: Profile, pair: Row) -> tuple[Lineage, Place]:
    """The request of a pair, in the build or in the crawl that its source names."""
    result_id = pair["region_id"].removeprefix(f"{pair['dataset']}/")
    place = lineage.find(TABLE, "result_id", result_id)
    if place is not None:
        return lineage, place
    for source in profile.sources:
        if source.dataset == pair["dataset"] and source.reader == PhotoRequestsReader.kind:
            workspace = Workspace(Path(source.root))
            crawl = Lineage(workspace, read_manifest(workspace, str(source.options.get("crawl", "crawl-requests"))))
            if (place := crawl.find(TABLE, "result_id", result_id)) is not None:
                return crawl, place
    raise ShardError(f"no crawl that build {lineage.manifest.name!r} names has the request {result_id!r}: crawl again")
