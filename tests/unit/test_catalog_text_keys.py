"""Keys of texts equal a re-implementation in plain Python, however the column lies in memory."""

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from catalog.text_keys import text_key, text_keys

MASK = (1 << 64) - 1


def splitmix(value: int) -> int:
    """The end of SplitMix64, in whole numbers of any size."""
    value = (value ^ (value >> 30)) * 0xBF58476D1CE4E5B9 & MASK
    value = (value ^ (value >> 27)) * 0x94D049BB133111EB & MASK
    return value ^ (value >> 31)


def plain_key(text: str | None) -> int:
    if text is None:
        return 0
    data = text.encode()
    key = len(data)
    for start in range(0, len(data), 8):
        key = (key ^ int.from_bytes(data[start : start + 8], "little")) * 0x9E3779B97F4A7C15 & MASK
        key ^= key >> 32
    return splitmix(key)


@settings(deadline=None)
@given(st.lists(st.one_of(st.none(), st.text(max_size=40), st.text("ab", min_size=8, max_size=8))), st.integers(0, 5))
def test_keys_are_those_of_plain_python(texts: list[str | None], start: int) -> None:
    column = pa.array(texts, pa.string()).slice(start)
    assert text_keys(column).tolist() == [plain_key(text) for text in texts[start:]]


def test_ids_of_one_length_are_read_in_place() -> None:
    ids = [f"{number:032x}" for number in range(40_000)]
    column = pa.concat_arrays([pa.array(["x", *ids[:7]]), pa.array(ids[7:])]).slice(1)
    assert text_keys(column).tolist() == [plain_key(one) for one in ids]
    assert len(set(text_keys(column).tolist())) == len(ids)


def test_known_keys() -> None:
    """Written down once: a mix that is made again must draw the same pairs in years."""
    assert [text_key(text) for text in ("", "pair 0001", "7cd5fccc")] == [0, 10254303949732109530, 3686753587650492560]
