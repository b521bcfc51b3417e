"""Reddit dumps for tests: submissions and comments as Arctic Shift has them."""

import json
from pathlib import Path

import zstandard


def dump(path: Path, lines: list, level: int = 3) -> Path:
    parameters = zstandard.ZstdCompressionParameters.from_level(level, window_log=31, enable_ldm=False)
    with path.open("wb") as file, zstandard.ZstdCompressor(compression_params=parameters).stream_writer(file) as writer:
        for line in lines:
            writer.write(line if isinstance(line, bytes) else json.dumps(line).encode() + b"\n")
    return path


def post(identity: str, **more) -> dict:
    return {
        "id": identity,
        "subreddit": "PhotoshopRequest",
        "author": "asker",
        "created_utc": 1700000000,
        "title": "Please remove the car",
        "selftext": "",
        "permalink": f"/r/PhotoshopRequest/comments/{identity}/x/",
        "url": f"https://i.redd.it/{identity}.jpg",
        **more,
    }


def comment(on: str, body: str, **more) -> dict:
    return {
        "id": f"c-{on}-{len(body)}",
        "subreddit": "PhotoshopRequest",
        "link_id": f"t3_{on}",
        "parent_id": f"t3_{on}",
        "author": "maker",
        "score": 1,
        "body": body,
        **more,
    }


def media(*names: str, kind: str = "image/jpg", status: str = "valid") -> dict:
    return {
        name: {"status": status, "e": "Image", "m": kind, "s": {"u": "https://preview.redd.it/x?a&amp;b"}}
        for name in names
    }
