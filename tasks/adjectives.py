"""The order of English adjectives: opinion, size, age, shape, colour, pattern, material ("large old red wooden")."""

from collections.abc import Sequence

_WORDS = (
    "nice beautiful pretty ugly cute lovely fancy plain simple",
    """big bigger biggest small smaller smallest large larger largest little tall taller tallest tiny huge giant short
    long""",
    "old older oldest new newer young younger youngest ancient antique modern",
    "round square rectangular oval flat curved straight triangular",
    """black white grey gray red orange yellow green blue purple pink brown tan beige gold golden silver maroon navy
    teal turquoise violet""",
    "striped plaid checkered spotted floral patterned",
    "wooden plastic metal glass leather concrete stone brick steel paper wicker ceramic",
)
_RANKS = {word: rank for rank, words in enumerate(_WORDS) for word in words.split()}
_COLOUR = 4
_SHADES = frozenset("dark light bright pale deep".split())


def order_adjectives(head: Sequence[str]) -> list[str]:
    """Modifiers and noun with the known adjectives at the front in the usual order; others stay where they are.

    "red large ball" becomes "large red ball" and "bird blue" "blue bird"; "dark blue" stays one. A head with "and" is
    left alone: "black and white large cat" may be about two things.
    """
    words = list(head)
    if "and" in words or len(words) < 2:
        return words
    if _RANKS.get(words[-1]) == _COLOUR and words[-1] not in ("orange", "gold", "silver", "tan"):
        shaded = 2 if words[-2] in _SHADES else 1
        if len(words) > shaded and words[-shaded - 1] not in _RANKS:
            words = [*words[-shaded:], *words[:-shaded]]
    groups: list[tuple[int, list[str]]] = []
    place = 0
    while place < len(words) - 1:
        shade = words[place] in _SHADES and _RANKS.get(words[place + 1]) == _COLOUR
        end = place + 1 + shade
        rank = _RANKS.get(words[end - 1])
        if rank is None or end == len(words):
            break
        groups.append((rank, words[place:end]))
        place = end
    ordered = [word for _, group in sorted(groups, key=lambda item: item[0]) for word in group]
    return [*ordered, *words[place:]]
