"""Texts on pictures, in lines that show every word."""

from collections.abc import Callable


def wrap_text(text: str, width: float, measure: Callable[[str], float]) -> list[str]:
    """Lines no wider than ``width`` that hold all of ``text``; a word that is wider alone goes on in the next line.

    Args:
        text: white space of any kind is one space.
        width: of a line. One letter is drawn even where it is wider.
        measure: width of a line's text.

    Returns:
        One line or more.
    """
    lines: list[str] = []
    line = ""
    for word in text.split():
        if line and measure(f"{line} {word}") <= width:
            line = f"{line} {word}"
            continue
        if line:
            lines.append(line)
        *whole, line = _pieces(word, width, measure)
        lines += whole
    return [*lines, line]


def _pieces(word: str, width: float, measure: Callable[[str], float]) -> list[str]:
    """A word in parts that fit, each as long as can be."""
    pieces = [""]
    for letter in word:
        if pieces[-1] and measure(pieces[-1] + letter) > width:
            pieces.append("")
        pieces[-1] += letter
    return pieces
