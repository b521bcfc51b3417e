"""The wish in a request: prose of a forum post made into one instruction.

People greet, thank, offer money, tell stories and link; the paper's own set was cleaned, it does not say how. Rules
here only take away: markdown, links, tags, names of users, addresses and numbers to reach somebody by, sentences that
are nothing but courtesy, payment or news. What is left are the asker's own words, the title first.
"""

import html
import re
import unicodedata

from catalog.errors import RowRejected
from catalog.reasons import Reason
from tasks.instruction_check import MAX_INSTRUCTION

MAX_TEXT = 20_000
"""Characters of a post that are looked at."""

_FENCE = re.compile(r"```.*?```|~~~.*?~~~", re.DOTALL)
_LINK = re.compile(r"!?\[([^\[\]]{0,300})\]\([^()\s]{0,2000}(?:\s+\"[^\"]{0,200}\")?\)")
_URL = re.compile(
    r"(?:\w+://|www\.)\S+|\b[\w-]+\.(?:com|org|net|cc|io|jpe?g|png|gif|webp|psd)\b(?:/\S*)?", re.IGNORECASE
)
_MAIL = re.compile(r"[\w.+-]{1,64}@[\w-]{1,64}(?:\.[\w-]{1,64}){1,4}")
_PHONE = re.compile(r"\+?\d[\d\s().-]{7,20}\d")
_USER = re.compile(r"(?<![\w/])/?[ur]/[\w-]+|(?<!\w)@\w+")
_TAG = re.compile(
    r"[\[({<]\s*(?:[\w' /-]{0,20}\b)?(?:request|free|paid|specific|random|solved|serious|meta|nsfw|sfw|help"
    r"|psbattle|found|update[d]?|x-?post|cross-?post|tips?|\$\d+)\b[^\])}>]{0,40}[\])}>]",
    re.IGNORECASE,
)
_MARKS = re.compile(r"[*_~^`>#|\\]+|&nbsp;|&#x200b;|\u200b|\ufeff", re.IGNORECASE)
_EDIT_NOTE = re.compile(r"\n\s*(?:edit|update|eta|solved)\s*\d*\s*:.*", re.IGNORECASE | re.DOTALL)
_DELETED = re.compile(r"^\s*\[?(?:deleted|removed)(?: by (?:user|moderator|reddit))?\]?\s*$", re.IGNORECASE)
_SPLIT = re.compile(r"(?<=[.!?…])[\s\"')]+|\n+|\s[-–—]\s(?=[A-Z])")
_COURTESY = re.compile(
    r"""^(?:(?:hi+|hey+|hello|greetings|good\s(?:morning|evening|day|afternoon)|dear)\b(?:\s\w+){0,4}
    |(?:\w+\s){0,3}(?:thanks?|thank\s?you|thx|ty|cheers|appreciat\w*|grateful)\b.{0,60}
    |(?:any|all)\b.{0,20}\bhelp\b.{0,40}|(?:please|pls|plz)?\s?help(?:\sme)?(?:\sout)?(?:\s(?:please|pls|plz))?
    |(?:please|pls|plz)|sorry\b.{0,60}|(?:photo\s?shop|ps)\srequests?|(?:photo\s?shop\s)?help\s(?:needed|wanted)
    |first\stime\b.{0,60}|long\stime\b.{0,60}|not\ssure\sif\sthis\b.{0,80}|god\sbless.{0,20}|peace
    |request|title|as\s(?:the\s)?title(?:\ssays)?|see\s(?:the\s)?title|photo|picture|image)[\W_]*$""",
    re.IGNORECASE | re.VERBOSE,
)
_PAYMENT = re.compile(
    r"[$€£]\s?\d|\b\d+\s?(?:\$|€|£|usd|eur|gbp|dollars?|bucks|euros?)\b|\b(?:pay\s?pal|venmo|cash\s?app|zelle|tip(?:s|ping)?"
    r"|(?:will|can|happy to|willing to|i'll)\s(?:pay|tip)|reward|gold|budget|buy you)\b",
    re.IGNORECASE,
)
_OPENING = re.compile(r"^(?:(?:hi|hey|hello)\b[^,.!]{0,30}[,.!]+\s*|so,?\s+|ok(?:ay)?,?\s+)*", re.IGNORECASE)
_ASKING = re.compile(
    r"^(?:(?:can|could|would|will)\s(?:some\s?(?:one|body)|any\s?(?:one|body)|you(?:\sguys)?|y'?all|one\sof\syou)"
    r"(?:\sout\sthere)?(?:\s(?:please|pls|kindly|just))*\s(?:be\s(?:able|willing|so\skind(?:\sas)?)\sto\s)?"
    r"(?:help(?:\sme)?\s(?:to\s)?(?!me\b|us\b|with\b|out\b|please\b))?(?!help\b))",
    re.IGNORECASE,
)
_SMILEY = re.compile(r"\s*[:;=]['-]?[)(DPp3](?=\s|$|[.!?])")


def clean_request(text: str) -> str:
    """One line, at most `MAX_INSTRUCTION` characters, whole sentences where they fit.

    Raises:
        RowRejected: empty_request.
    """
    plain = html.unescape(text[:MAX_TEXT])
    plain = unicodedata.normalize("NFC", "".join(map(_printable, plain)))
    paragraphs = [part for part in plain.split("\n\n") if not _DELETED.match(part)]
    plain = _FENCE.sub(" ", "\n\n".join(paragraphs))
    plain = _LINK.sub(lambda found: "" if _URL.search(found[1]) else found[1], plain)
    for pattern in (_MAIL, _URL, _USER, _TAG, _PHONE):
        plain = pattern.sub(" ", plain)
    plain = _SMILEY.sub("", _EDIT_NOTE.sub("", _MARKS.sub(" ", plain)))
    kept: list[str] = []
    for sentence in _SPLIT.split(plain):
        wish = _wish(sentence)
        if wish and wish.lower().rstrip(".!?") not in {other.lower().rstrip(".!?") for other in kept}:
            kept.append(wish)
    return _fit(kept)


def _wish(sentence: str) -> str:
    """A sentence without its opening; empty where it holds no wish."""
    text = _OPENING.sub("", " ".join(sentence.split()).strip(" -–—:;,/|\"'"), count=1)
    text, is_question = _ASKING.subn("", text, count=1)
    if is_question:  # "Can someone remove it?" has become "remove it"
        text = text.rstrip("? ")
    words = [word for word in re.split(r"\W+", text) if word]
    if not words or _COURTESY.match(text) or _PAYMENT.search(text):
        return ""
    if len(words) == 1 and len(words[0]) < 4:
        return ""
    return text[0].upper() + text[1:]


def _fit(sentences: list[str]) -> str:
    """As many whole sentences as fit; of a first one that is too long, its beginning up to a word."""
    if not sentences or not any(character.isalpha() for sentence in sentences for character in sentence):
        raise RowRejected(Reason.EMPTY_REQUEST, "greetings, prices and links are all there is")
    text = sentences[0]
    if len(text) > MAX_INSTRUCTION:
        return text[:MAX_INSTRUCTION].rpartition(" ")[0].rstrip(",;:- ") or text[:MAX_INSTRUCTION]
    for sentence in sentences[1:]:
        longer = f"{text if text[-1] in '.!?…' else text + '.'} {sentence}"
        if len(longer) > MAX_INSTRUCTION:
            break
        text = longer
    return text


def _printable(character: str) -> str:
    """Line breaks stay; control, format, private and unassigned characters, surrogates and pictographs go."""
    if character in "\n\t ":
        return character
    kind = unicodedata.category(character)
    return " " if kind[0] == "C" or kind in ("So", "Zl", "Zp") else character
