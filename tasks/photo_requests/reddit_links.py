"""Links to pictures in Reddit's posts and comments, in the form that lasts.

Preview links are signed and expire; the stable form of a picture is ``https://i.redd.it/<media id>.<extension>``. A
page of imgur that holds one picture is that picture's name; albums and other pages stay links to pages, which the
crawl refuses with a reason of their own.
"""

import html
import re
from typing import Any
from urllib.parse import urlsplit

_EXTENSIONS = {"image/jpg": "jpg", "image/jpeg": "jpg", "image/png": "png", "image/gif": "gif", "image/webp": "webp"}
_PICTURE = re.compile(r"\.(?:jpe?g|png|webp|gif|bmp|tiff?)$", re.IGNORECASE)
_MEDIA_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_LINK = re.compile(r"https?://[^\s<>\[\]\"'`|]{3,2000}", re.IGNORECASE)
_IMGUR_NAME = re.compile(r"/(?:r/\w+/)?([A-Za-z0-9]{5,8})")
_PAGE_HOSTS = ("imgur.com", "postimg.cc", "postimg.org", "ibb.co", "flickr.com", "photobucket.com", "minus.com")
_DELETED = re.compile(r"\s*\[\s*(?:deleted|removed)(?:\s+by\s+\w+)?\s*\]\s*", re.IGNORECASE)
MAX_BODY = 100_000
"""Characters of a text that links are looked for in."""


def is_deleted(text: Any) -> bool:
    """Whether a title, post or comment is only the mark of its deletion."""
    return isinstance(text, str) and _DELETED.fullmatch(text[:100]) is not None


def post_links(post: dict[str, Any]) -> list[str]:
    """Pictures of a submission: its gallery in order, else the picture that it links, else those in its text."""
    if gallery := gallery_links(post):
        return gallery
    for name in ("url_overridden_by_dest", "url"):
        link = post.get(name)
        if isinstance(link, str) and link.startswith(("http://", "https://")) and post.get("is_self") is not True:
            direct = direct_link(html.unescape(link))
            if is_picture(direct) or is_page(direct):
                return [direct]
    text = post.get("selftext")
    return text_links(text) if isinstance(text, str) else []


def gallery_links(post: dict[str, Any]) -> list[str]:
    """Pictures of a gallery, or of a comment's own media, in the gallery's order."""
    media = post.get("media_metadata")
    if not isinstance(media, dict):
        return []
    order = list(media)
    gallery = post.get("gallery_data")
    items = gallery.get("items") if isinstance(gallery, dict) else None
    if isinstance(items, list):
        order = [item["media_id"] for item in items if isinstance(item, dict) and isinstance(item.get("media_id"), str)]
    links = []
    for name in order:
        entry = media.get(name)
        if not isinstance(entry, dict) or entry.get("status") != "valid" or not _MEDIA_ID.fullmatch(name):
            continue
        extension = _EXTENSIONS.get(str(entry.get("m")).lower())
        if extension is not None:
            links.append(f"https://i.redd.it/{name}.{extension}")
    return links


def text_links(text: str) -> list[str]:
    """Links in a text that lead to pictures or to pages of picture hosts, each once, in order."""
    found = []
    for match in _LINK.finditer(html.unescape(text[:MAX_BODY])):
        link = direct_link(_balanced(match[0]))
        if is_picture(link) or is_page(link):
            found.append(link)
    return list(dict.fromkeys(found))


def direct_link(link: str) -> str:
    """The lasting link of a picture, where its host is known; others as they are."""
    parts = _split(link)
    if parts is None:
        return link
    host, path = parts
    if host == "preview.redd.it" and _PICTURE.search(path):
        name = path.rpartition("/")[2]
        return f"https://i.redd.it/{name.rpartition('-')[2] if '-v0-' in name else name}"
    if host in ("imgur.com", "www.imgur.com", "m.imgur.com") and (found := _IMGUR_NAME.fullmatch(path)):
        return f"https://i.imgur.com/{found[1]}.jpg"
    if host in ("imgur.com", "www.imgur.com") and _PICTURE.search(path) and path.count("/") == 1:
        return f"https://i.imgur.com{path}"
    return link


def is_picture(link: str) -> bool:
    """Whether a link ends as files of pictures do, or its host serves nothing else."""
    parts = _split(link)
    return parts is not None and (_PICTURE.search(parts[1]) is not None or parts[0] in ("i.redd.it", "i.imgur.com"))


def is_page(link: str) -> bool:
    """Whether a link leads to a page or album of a host of pictures."""
    parts = _split(link)
    if parts is None or is_picture(link):
        return False
    on_host = any(parts[0] == host or parts[0].endswith("." + host) for host in _PAGE_HOSTS)
    return (on_host and len(parts[1]) > 1) or (parts[0].endswith("reddit.com") and parts[1].startswith("/gallery/"))


def _split(link: str) -> tuple[str, str] | None:
    """Host, in lower case, and path; None for what is no URL."""
    if not link.isprintable():
        return None
    try:
        parts = urlsplit(link)
        return (parts.hostname or "").lower(), parts.path
    except ValueError:
        return None


def _balanced(link: str) -> str:
    """A link without the punctuation of the sentence around it."""
    link = link.rstrip(".,;:!?*_~")
    while link.endswith(")") and link.count(")") > link.count("("):
        link = link[:-1].rstrip(".,;:!?*_~")
    return link
