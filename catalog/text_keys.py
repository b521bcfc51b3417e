"""64-bit keys of texts: the same for any machine, library version and order of rows, and quick for whole columns.

A key is a number to join, compare and draw by; it is no digest, and whoever stores keys sees to collisions.
"""

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

_WORD = 8  # bytes
_STIR = np.uint64(0x9E3779B97F4A7C15)
_FINISH = ((30, np.uint64(0xBF58476D1CE4E5B9)), (27, np.uint64(0x94D049BB133111EB)))
_BLOCK = 1 << 19  # bytes at a time: what a processor's cache holds


def text_key(text: str) -> int:
    """The key of one text."""
    return int(text_keys(pa.array([text]))[0])


def text_keys(texts: pa.Array) -> NDArray[np.uint64]:
    """The keys of a column of texts (N), uint64 (N); of a null 0.

    The UTF-8 bytes, filled up with zeros to whole little-endian words of 8 bytes, are taken in one by one: key =
    (key xor word) * 0x9E3779B97F4A7C15 mod 2^64, then key = key xor (key >> 32), from the number of bytes on. At last
    it is stirred by the end of SplitMix64 (Steele, Lea and Flood 2014), so that all its bits are alike.
    """
    keys = np.zeros(len(texts), np.uint64)
    if texts.null_count:
        keys[texts.is_valid().to_numpy(zero_copy_only=False)] = text_keys(texts.drop_null())
        return keys
    if not len(texts):
        return keys
    texts = texts.cast(pa.large_string())
    offsets = np.frombuffer(texts.buffers()[1], np.int64, len(texts) + 1, texts.offset * 8)
    data = np.frombuffer(texts.buffers()[2] or b"", np.uint8)
    lengths = np.diff(offsets)
    for length in lengths[:1] if (lengths == lengths[0]).all() else np.unique(lengths):
        rows = np.flatnonzero(lengths == length)
        size = max(1, _BLOCK // max(1, int(length)))
        for start in range(0, len(rows), size):
            block = rows[start : start + size]
            keys[block] = _keys(_words(data, offsets[block], int(length)), int(length))
    return keys


def _words(data: NDArray[np.uint8], starts: NDArray[np.int64], length: int) -> NDArray[np.uint64]:
    """The words of texts of equal length, (N, ceil(length / 8))."""
    num_words = -(-length // _WORD)
    if starts[-1] - starts[0] == (len(starts) - 1) * length and length == num_words * _WORD:  # they lie one by one
        return data[starts[0] : starts[-1] + length].reshape(len(starts), -1).view("<u8")
    filled = np.zeros((len(starts), num_words * _WORD), np.uint8)
    filled[:, :length] = data[starts[:, None] + np.arange(length)]
    return filled.view("<u8")


def _keys(words: NDArray[np.uint64], length: int) -> NDArray[np.uint64]:
    keys = np.full(len(words), length, np.uint64)
    for place in range(words.shape[1]):
        keys ^= words[:, place]
        keys *= _STIR
        keys ^= keys >> np.uint64(32)
    for shift, factor in _FINISH:
        keys ^= keys >> np.uint64(shift)
        keys *= factor
    keys ^= keys >> np.uint64(31)
    return keys
