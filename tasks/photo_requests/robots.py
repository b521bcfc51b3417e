"""robots.txt and the headers by which a host reserves its pictures.

RFC 9309: a robots.txt that is not there (4xx) allows everything, one that cannot be had (5xx, no connection) forbids
everything; at most five redirects are followed and 500 KiB read. Protego parses it. ``X-Robots-Tag`` may hold noai
and noimageai (a convention of picture sites, which img2dataset honours as well) or noindex and noimageindex (search
engines' own); ``TDM-Reservation: 1`` is the W3C community's reservation of text and data mining.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from protego import Protego

MAX_ROBOTS = 500 << 10
"""Bytes of a robots.txt that are read (RFC 9309, section 2.5: at least 500 KiB)."""
_RESERVED = frozenset({"noai", "noimageai", "noindex", "noimageindex", "none"})
_LONGEST_DELAY = 60.0  # seconds: a Crawl-delay beyond it is a mistake or a refusal


@dataclass(frozen=True)
class RobotsRules:
    """What one host's robots.txt says to our robot."""

    robot: str
    parsed: Protego | None = None
    unreadable: str = ""
    """Why it could not be had; not empty: everything is forbidden."""

    @classmethod
    def parse(cls, robot: str, text: bytes) -> "RobotsRules":
        """Rules from the bytes of a robots.txt; what is no rule in it is passed over, as the RFC wants."""
        return cls(robot, Protego.parse(text[:MAX_ROBOTS].decode("utf-8", "replace")))

    def allows(self, url: str) -> bool:
        """Whether our robot may fetch a URL of the host."""
        return not self.unreadable and (self.parsed is None or bool(self.parsed.can_fetch(url, self.robot)))

    @property
    def delay(self) -> float:
        """Seconds between two requests that it asks for; 0 where it says nothing."""
        if self.parsed is None:
            return 0.0
        delay = float(self.parsed.crawl_delay(self.robot) or 0.0)
        rate = self.parsed.request_rate(self.robot)
        if rate is not None and rate.requests:
            delay = max(delay, rate.seconds / rate.requests)
        return min(max(delay, 0.0), _LONGEST_DELAY)


def find_reservation(headers: Iterable[tuple[bytes, bytes]], robot: str) -> str | None:
    """The header that keeps our robot from using an answer, None where none does.

    Args:
        headers: of the answer.
        robot: a directive after another robot's name ("otherbot: noindex") does not concern us.
    """
    for name, value in headers:
        key, text = name.decode("latin-1").lower(), value.decode("latin-1")
        if key == "tdm-reservation" and text.strip() == "1":
            return "TDM-Reservation: 1"
        if key == "x-robots-tag":
            concerns = True
            for part in text.lower().split(","):
                agent, colon, directive = part.partition(":")
                if colon and agent.strip() not in ("max-snippet", "max-image-preview", "max-video-preview"):
                    if agent.strip() == "unavailable_after":
                        continue
                    concerns = agent.strip() in (robot.lower(), "*")
                    part = directive
                if concerns and part.strip() in _RESERVED:
                    return f"X-Robots-Tag: {part.strip()}"
    return None
