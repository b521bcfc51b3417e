"""Memory of a crawl: what fetching 1,000 pictures takes at its peak, over what 100 take.

The site is a process of its own on the loopback, and so is each crawl; pictures are photos of 640 x 480 with a part
that is random, so that no two are near duplicates. Fetched, checked, archived and told apart; not matched.
"""

import json
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

import cv2
import numpy as np
from benchmark_record import Record

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from photo_site import Page, Site

from catalog.workspace import Workspace
from tasks.photo_requests.collection import Collection, CrawlRequest
from tasks.photo_requests.crawl_settings import read_settings

FEW, MANY = 100, 1000
GOAL = 1.1


def bench_crawl_memory_growth() -> Record:
    """Peak memory of 1,000 pictures over that of 100."""
    figures = _measure()
    value = figures["many_bytes"] / figures["few_bytes"]
    return Record(
        name="crawl_memory_growth",
        value=value,
        unit="ratio",
        against=f"peak of {MANY} files {figures['many_bytes'] / 2**20:.0f} MiB, of {FEW} files "
        f"{figures['few_bytes'] / 2**20:.0f} MiB; {figures['body_bytes'] / 2**20:.0f} MiB fetched",
        goal=f"<= {GOAL}",
        holds=value <= GOAL,
    )


@cache
def _measure() -> dict[str, float]:
    with Site() as site, tempfile.TemporaryDirectory() as folder:
        rng = np.random.default_rng(0)
        for number in range(MANY):
            site.pages[f"/{number}.jpg"] = Page(_picture(rng))
        figures: dict[str, float] = {"body_bytes": sum(len(page.body) for page in site.pages.values())}
        for name, count in (("few", FEW), ("many", MANY)):
            home = Path(folder) / name
            home.mkdir()
            command = [sys.executable, __file__, str(home), str(site.port), str(count)]
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
            figures[f"{name}_bytes"] = json.loads(done.stdout)
        return figures


def _picture(rng: np.random.Generator) -> bytes:
    coarse = rng.integers(0, 255, (12, 16, 3), np.uint8)
    picture = cv2.resize(coarse, (640, 480), interpolation=cv2.INTER_CUBIC)
    picture = np.clip(picture.astype(int) + rng.integers(-20, 20, picture.shape), 0, 255).astype(np.uint8)
    return bytes(cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 90])[1])


def _crawl(home: Path, port: int, count: int) -> int:
    """Fetch ``count`` pictures, two a request; returns the peak of this process in bytes."""
    lines = [
        json.dumps(
            {
                "id": str(number),
                "page": "https://forum.test/",
                "before": f"http://127.0.0.1:{port}/{number}.jpg",
                "after": f"http://127.0.0.1:{port}/{number + 1}.jpg",
                "text": "Remove the car",
            }
        )
        for number in range(0, count, 2)
    ]
    (home / "list.jsonl").write_text("\n".join(lines))
    settings = {
        "fetch.host_rate": 10_000.0,
        "fetch.host_connections": 8,
        "fetch.ports": [port],
        "fetch.private_hosts": [f"127.0.0.1:{port}"],
        "requests_per_shard": 25,
    }
    crawl = CrawlRequest(name="crawl", list_file=home / "list.jsonl", settings=read_settings(settings))
    collection = Collection(Workspace(home), crawl)
    usable = sum(row["reason"] is None for rows in collection.chunks() for row in rows)
    assert usable == count // 2 and collection.counts["fetched"] == count, (usable, collection.counts)
    # Not ru_maxrss, which a child inherits from the process that started it.
    status = Path("/proc/self/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM"))) * 1024


if __name__ == "__main__":
    sys.stdout.write(json.dumps(_crawl(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))))
