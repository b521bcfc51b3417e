"""From a list of requests to the table ``requests``: one row per result, whatever became of it.

The list is taken in chunks. Of each, pictures are fetched (or found in the archive), rows are told apart by what is
against them, and what is left is matched; a chunk is one shard, keyed by its rows, the digests of their pictures
and the parameters of matching. So the same list over the same archive gives the same bytes, and after a kill nothing
is fetched or matched again.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

from catalog.digests import bytes_digest, value_digest
from catalog.errors import ConfigError, RowRejected
from catalog.manifests import Manifest, check_build_name, check_same_kind, write_manifest
from catalog.reasons import Reason
from catalog.roots import record_root
from catalog.store import STORE_ROOT, Shard, shard_key, sweep_store, write_shard
from catalog.workspace import Workspace
from tasks.photo_requests.addresses import Resolve, resolve_host
from tasks.photo_requests.archive import Answer, Archive
from tasks.photo_requests.crawl_settings import CrawlSettings
from tasks.photo_requests.fetch_queue import fetch_all
from tasks.photo_requests.fetching import Fetcher
from tasks.photo_requests.fingerprints import Fingerprint
from tasks.photo_requests.list_faults import ListFaults
from tasks.photo_requests.near_duplicates import Candidate, NearDuplicates
from tasks.photo_requests.opt_outs import OptOuts, read_opt_outs
from tasks.photo_requests.records import TABLE, PhotoRequest, PhotoResult, is_url
from tasks.photo_requests.reddit_links import is_page
from tasks.photo_requests.request_lists import read_list
from tasks.photo_requests.request_text import clean_request
from tasks.photo_requests.row_matching import match_rows

AGAIN = ("never", "failed", "all")
"""What of the archive is asked for again: nothing; what failed for a reason that may have passed; all of it, with
the question whether it has changed."""
VERSION = 1
"""Of the matching: another one makes other shards."""
Row = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class CrawlRequest:
    """What a user asks a crawl to do."""

    name: str
    """Of the crawl's manifest."""
    list_file: Path
    comments: Path | None = None
    """Of a Reddit dump."""
    opt_out: Path | None = None
    settings: CrawlSettings
    again: str = "never"
    offline: bool = False
    """Ask nobody: take what the archive and the disk have."""

    def __post_init__(self) -> None:
        check_build_name(self.name)
        if self.again not in AGAIN:
            raise ConfigError(f"what is fetched again must be one of {', '.join(AGAIN)}. Got {self.again!r}")
        if self.offline and self.again != "never":
            raise ConfigError("a run that asks nobody cannot fetch anything again: leave one of the two out")


class Collection:
    """One crawl. Chunks come from one thread; `match` may be called by several."""

    def __init__(
        self,
        workspace: Workspace,
        crawl: CrawlRequest,
        tell: Callable[[int, int], None] = lambda done, total: None,
        resolve: Resolve = resolve_host,
    ) -> None:
        """Read list and opt-outs; nothing is asked yet.

        Raises:
            UserError: a file is not there or not as described.
        """
        check_same_kind(workspace, crawl.name, TABLE)
        self._workspace, self._crawl, self._tell, self._resolve = workspace, crawl, tell, resolve
        self._opt_outs: OptOuts = read_opt_outs(crawl.opt_out)
        self._archive = Archive(workspace)
        self._folder = crawl.list_file.absolute().parent
        self._requests = _unique(read_list(crawl.list_file, crawl.comments, crawl.settings))
        self._duplicates = NearDuplicates(self._fingerprint)
        self._asked: set[bytes] = set()
        self.counts: Counter[str] = Counter()
        """Addresses: ``fetched`` now, ``archived`` before, ``local``."""

    def chunks(self) -> Iterator[list[Row]]:
        """Rows of each chunk, fetched and told apart, ready to be matched. Holds the archive meanwhile.

        Raises:
            UserError: the list turns out damaged on the way, or at its end to hold no row that can be used.
        """
        sweep_store(self._workspace)
        record_root(self._workspace, STORE_ROOT, self._workspace.data)
        fetch = self._crawl.settings.fetch
        with (
            self._archive.hold(),
            closing(Fetcher(fetch, self._archive, self._opt_outs, self._resolve)) as fetcher,
        ):
            size, faults = self._crawl.settings.requests_per_shard, ListFaults()
            while chunk := list(islice(self._requests, size)):
                rows = self._rows(chunk, fetcher)
                faults.add(rows)
                yield rows
        faults.check(self._crawl.list_file)

    def match(self, rows: Sequence[Row]) -> Shard:
        """The shard of a chunk, made now unless it is there."""
        parameters = {"version": VERSION, **asdict(self._crawl.settings.match)}
        inputs = [value_digest(list(rows))]
        key = shard_key("match_requests", parameters, [], inputs)
        metadata = {"step": "match_requests", "parameters": parameters, "backends": [], "inputs": inputs}
        produce = match_rows(self._workspace, rows, self._crawl.settings.match)
        return write_shard(self._workspace, TABLE, key, produce, metadata)

    def finish(self, shards: Sequence[Shard]) -> Manifest:
        """Write the crawl's manifest: shards in the order of the list."""
        parameters = {"list": self._crawl.list_file.name, "match": asdict(self._crawl.settings.match)}
        manifest = Manifest(name=self._crawl.name, parameters=parameters, tables={TABLE: list(shards)})
        write_manifest(self._workspace, manifest)
        return manifest

    def _rows(self, chunk: Sequence[PhotoRequest], fetcher: Fetcher) -> list[Row]:
        rows = [row for request in chunk for row in self._listed(request)]
        wanted = [address for row in rows if row["reason"] is None for address in (*row["photos"], row["result"])]
        answers = self._answers(wanted, fetcher)
        for row in rows:
            if row["reason"] is None:
                self._judge(row, answers)
        usable = [row for row in rows if row["reason"] is None]
        found = self._duplicates.find(
            [Candidate(row["result_id"], tuple(row["photos"]), row["result"]) for row in usable]
        )
        for position, other in found.items():
            usable[position] |= _fault(Reason.NEAR_DUPLICATE, f"looks like {other}")
        return rows

    def _listed(self, request: PhotoRequest) -> list[Row]:
        """One row per result, with what can be said before anything is fetched."""
        row = {
            "request_id": request.request_id,
            "page": request.page,
            "licence": request.licence,
            "created_utc": request.created_utc,
            "request_text": request.text,
            "instruction": None,
            "photos": list(request.photos),
            "photo_images": [],
            "result": None,
            "result_image": None,
            "reason": None,
            "detail": None,
        }
        fault = self._request_fault(request)
        if fault is None:
            try:
                row["instruction"] = clean_request(request.text)
            except RowRejected as rejected:
                fault = rejected.reason, rejected.detail
        if fault is not None:
            return [row | {"result_id": f"{request.request_id}-0"} | _fault(*fault)]
        rows = []
        for number, result in enumerate(request.results, start=1):
            one = row | {"result_id": f"{request.request_id}-{number}", "result": result.address}
            rows.append(one | (_fault(*fault) if (fault := self._result_fault(result)) else {}))
        return rows

    def _request_fault(self, request: PhotoRequest) -> tuple[Reason, str] | None:
        if request.fault is not None:
            return request.fault
        if name := self._opt_outs.name_author(request.author) or self._opt_outs.name_url(request.page):
            return Reason.OPTED_OUT, f"{name} is on the opt-out list"
        if not request.photos:
            return Reason.NO_PHOTO, "no picture before the edit"
        if not request.results:
            return Reason.NO_RESULT, "no picture after the edit"
        return None

    def _result_fault(self, result: PhotoResult) -> tuple[Reason, str] | None:
        if name := self._opt_outs.name_author(result.author):
            return Reason.OPTED_OUT, f"{name} is on the opt-out list"
        return None

    def _answers(self, addresses: Sequence[str], fetcher: Fetcher) -> dict[str, Answer]:
        """What is known of each address, after asking for what is not."""
        answers: dict[str, Answer] = {}
        missing: list[str] = []
        known: dict[str, Answer] = {}
        for address in dict.fromkeys(addresses):
            answer = self._known(address)
            if answer is None or self._is_due(address, answer):
                missing.append(address)
                if answer is not None:
                    known[address] = answer
            else:
                answers[address] = answer
                self.counts["archived" if is_url(address) else "local"] += 1
        self._asked.update(_short(address) for address in missing)
        self.counts["fetched"] += len(missing)
        limits = self._crawl.settings.fetch
        fetched = fetch_all(
            lambda address: fetcher.fetch(address, known.get(address)),
            missing,
            limits.connections,
            limits.host_connections,
            self._tell,
            fetcher.stop,
        )
        return answers | fetched

    def _known(self, address: str) -> Answer | None:
        """What can be said of an address without asking anybody."""
        if is_url(address):
            if is_page(address):
                return Answer(address=address).rejected(Reason.PAGE_LINK, "a page or album, not a picture")
            if entry := self._opt_outs.name_url(address):
                return Answer(address=address).rejected(Reason.OPTED_OUT, f"{entry} is on the opt-out list")
            answer = self._archive.find(address)
            if answer is None and self._crawl.offline:
                return Answer(address=address).rejected(Reason.NOT_FETCHED, "run crawl-requests to fetch it")
        else:
            answer = self._archive.take(self._folder, address)
        if answer is not None and answer.sha256 in self._opt_outs.digests:
            return answer.rejected(Reason.OPTED_OUT, "its digest is on the opt-out list")
        if answer is not None and answer.final_url and (entry := self._opt_outs.name_url(answer.final_url)):
            return answer.rejected(Reason.OPTED_OUT, f"{entry}, where it led, is on the opt-out list")
        return answer

    def _is_due(self, address: str, answer: Answer) -> bool:
        """Whether an answer that is there is to be asked for again."""
        if self._crawl.again == "never" or answer.fetched_at is None or _short(address) in self._asked:
            return False
        return self._crawl.again == "all" or answer.may_pass

    def _judge(self, row: Row, answers: dict[str, Answer]) -> None:
        """Complete a row by its pictures, or by the reason against them."""
        photos = [answers[address] for address in row["photos"]]
        usable = [answer for answer in photos if answer.reason is None]
        result = answers[row["result"]]
        if not usable:
            assert photos[0].reason is not None
            row |= _fault(photos[0].reason, f"photo {row['photos'][0]}: {photos[0].detail}")
        elif result.reason is not None:
            row |= _fault(result.reason, f"result {row['result']}: {result.detail}")
        elif any(one.sha256 in self._opt_outs.digests for one in (*usable, result)):
            row |= _fault(Reason.OPTED_OUT, "the digest of a picture is on the opt-out list")
        row["photos"] = [answer.address for answer in usable] or row["photos"]
        row["photo_images"] = [answer.image for answer in usable]
        row["result_image"] = result.image

    def _fingerprint(self, address: str) -> Fingerprint | None:
        answer = self._known(address)
        return None if answer is None else self._archive.look(answer).fingerprint


def _unique(requests: Iterator[PhotoRequest]) -> Iterator[PhotoRequest]:
    """Requests with ids of their own: a repeated id is a fault of its second bearer."""
    seen: set[bytes] = set()
    repeats: Counter[str] = Counter()
    for request in requests:
        if _short(request.request_id) in seen:
            repeats[request.request_id] += 1
            name = f"{request.request_id}~{repeats[request.request_id] + 1}"
            detail = f"request {request.request_id!r} occurs more than once"
            request = replace(request, request_id=name, fault=(Reason.DUPLICATE_ID, detail))
        seen.add(_short(request.request_id))
        yield request


def _short(text: str) -> bytes:
    return bytes.fromhex(bytes_digest(text.encode("utf-8", "backslashreplace"))[:16])


def _fault(reason: Reason | str, detail: str) -> Row:
    return {"reason": str(reason), "detail": detail}
