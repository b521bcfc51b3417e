"""What a crawl may do and what counts as a match: two groups of numbers, each with its unit and its reason."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from catalog.errors import ConfigError
from catalog.image_headers import MAX_BYTES
from tasks.profiles import build_parameters

_TOKEN = re.compile(r"[A-Za-z][A-Za-z_-]{0,63}")
_CONTACT = re.compile(r"[\x21-\x7e]{0,200}")


@dataclass(frozen=True, kw_only=True)
class FetchParameters:
    """Limits of what is asked of other people's servers."""

    robot: str = "ieiw"
    """The name that robots.txt and X-Robots-Tag know us by."""
    contact: str = ""
    """Mail address or URL that is sent along, for those who want to complain."""
    connections: int = 8
    """Requests at a time, over all hosts."""
    host_connections: int = 2
    """Requests at a time to one host."""
    host_rate: float = 1.0
    """Requests per second to one host. A Crawl-delay in its robots.txt makes it slower, never faster."""
    timeout: float = 60.0
    """Seconds for one address: every redirect and the whole picture."""
    longest_pause: float = 120.0
    """Seconds that a host may ask us to wait by Retry-After before we ask once more; longer, and we give up."""
    max_bytes: int = 32 << 20
    """Largest picture, bytes."""
    max_redirects: int = 5
    ports: list[int] = field(default_factory=lambda: [80, 443])
    """Ports that may be asked."""
    private_hosts: list[str] = field(default_factory=list)
    """"ADDRESS:PORT" of servers inside your own network that may be asked all the same: a mirror, a test."""

    def __post_init__(self) -> None:
        if not _TOKEN.fullmatch(self.robot):
            raise ConfigError(f"robot must be letters, '-' and '_', as robots.txt names a robot. Got {self.robot!r}")
        if not _CONTACT.fullmatch(self.contact):
            raise ConfigError(f"contact must be a mail address or URL without spaces. Got {self.contact!r}")
        for name, low, high in (
            ("connections", 1, 64),
            ("host_connections", 1, 16),
            ("max_bytes", 1024, MAX_BYTES),
            ("max_redirects", 0, 20),
        ):
            if not low <= getattr(self, name) <= high:
                raise ConfigError(f"{name} must be from {low} to {high}. Got {getattr(self, name)}")
        for name, least in (("host_rate", 0.001), ("timeout", 0.1), ("longest_pause", 0.0)):
            if not least <= getattr(self, name) < math.inf:
                raise ConfigError(f"{name} must be finite and at least {least}. Got {getattr(self, name)}")
        if not all(isinstance(port, int) and 0 < port < 65536 for port in self.ports):
            raise ConfigError(f"ports must be numbers from 1 to 65535. Got {self.ports}")
        if not all(isinstance(host, str) and re.fullmatch(r".+:\d{1,5}", host) for host in self.private_hosts):
            raise ConfigError(f"private_hosts must be ADDRESS:PORT, such as 127.0.0.1:8000. Got {self.private_hosts}")

    @property
    def user_agent(self) -> str:
        """The header of every request."""
        return f"{self.robot}/0.1" + (f" (+{self.contact})" if self.contact else "")


@dataclass(frozen=True, kw_only=True)
class MatchParameters:
    """When a result is an edit of a photo. The paper gives no number (section 3.2)."""

    min_inliers: int = 12
    """Features that must agree on one transform."""
    min_inlier_share: float = 0.15
    """Of the features that found a partner."""
    min_alike_share: float = 0.15
    """Textured blocks of the common frame that must still look the same: an edit leaves something of the photo."""
    max_stretch: float = 1.15
    """Largest ratio of the scales of the two axes, and largest shear: beyond it a picture looks wrong."""
    min_frame_share: float = 0.25
    """Smallest common frame, share of the photo."""
    min_change: float = 8.0
    """Levels by which the mean of some block of 16 pixels (at 512) must differ, or else the detail: recompression at
    quality 50 moved it by at most 7.5 on 30 real photos."""
    min_detail_change: float = 1.35
    """Ratio of the strength of edges in the two pictures that counts as a change as well (sharpened, denoised):
    recompression at quality 50 reached 1.34."""

    def __post_init__(self) -> None:
        if self.min_inliers < 4:
            raise ConfigError(f"min_inliers must be at least 4. Got {self.min_inliers}")
        for name in ("min_inlier_share", "min_alike_share", "min_frame_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"{name} must be in [0, 1]. Got {getattr(self, name)}")
        for name, least in (("max_stretch", 1), ("min_detail_change", 1), ("min_change", 0)):
            if not least <= getattr(self, name) < math.inf:
                raise ConfigError(f"{name} must be finite and at least {least}. Got {getattr(self, name)}")


@dataclass(frozen=True, kw_only=True)
class CrawlSettings:
    """Everything that a crawl depends on beside its list."""

    fetch: FetchParameters = field(default_factory=FetchParameters)
    match: MatchParameters = field(default_factory=MatchParameters)
    requests_per_shard: int = 64
    subreddits: tuple[str, ...] = ("PhotoshopRequest",)
    """Of a Reddit dump: the communities whose posts are taken."""
    with_adult_posts: bool = False
    """Keep requests that are marked as for adults."""

    def __post_init__(self) -> None:
        if not 1 <= self.requests_per_shard <= 4096:
            raise ConfigError(f"requests_per_shard must be from 1 to 4096. Got {self.requests_per_shard}")


def read_settings(values: Mapping[str, Any] | None) -> CrawlSettings:
    """Settings from values by dotted name, such as ``{"fetch.host_rate": 0.5, "subreddits": ["estoration"]}``.

    Raises:
        ConfigError: an unknown name, a wrong type or a value out of range.
    """
    groups: dict[str, dict[str, Any]] = {"fetch": {}, "match": {}, "": {}}
    for name, value in (values or {}).items():
        group, dot, last = name.partition(".")
        if (dot and group not in ("fetch", "match")) or (not dot and group in groups):
            raise ConfigError(f"a crawl has no setting {name!r}: give fetch.NAME, match.NAME or a name of its own")
        groups[group if dot else ""][last if dot else group] = value
    own = groups[""]
    if isinstance(own.get("subreddits"), list):
        own["subreddits"] = tuple(str(name) for name in own["subreddits"])
    own["fetch"] = build_parameters(FetchParameters, groups["fetch"], "settings fetch")
    own["match"] = build_parameters(MatchParameters, groups["match"], "settings match")
    return build_parameters(CrawlSettings, own, "settings")
