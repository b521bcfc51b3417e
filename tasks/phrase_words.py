"""The short lists of words that referring phrases are joined by and made of (PhraseCut's and RefCOCO's)."""

from tasks.nouns import ORDINALS


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


COLOURS = _words(
    """black white grey gray red orange yellow green blue purple pink brown tan beige gold golden silver maroon navy
    teal turquoise violet dark light bright pale plaid striped camouflage camo"""
)
PLAIN_COLOURS = COLOURS - _words("orange gold silver tan light dark")
"""Never the name of a thing."""
DETERMINERS = _words(
    """the a an this that these those his her its their my your our some any all both every each another either
    neither several many few lots such what which whose one two three four five six seven eight nine ten eleven
    twelve it him them me us you i he she they someone something everyone everything himself herself itself
    themselves who"""
)
SIZES = _words("big bigger biggest small smaller smallest large larger largest little tall taller tallest tiny huge")
FINITE = _words("is are was were")
RELATIVE = _words("that which who whose where while as there")
POSITIONS = _words("left right middle center centre top bottom")
BARE = _words(
    """front top back fire display bat home night left right forward backward up down away together close low high
    here there alone ahead flight motion line half sideways ground level work school bed use season"""
) - _words("back ground bed left right")
UNIQUE_PLACES = _words("background foreground distance middle center centre corner front back sky air")
CLOTHES = _words(
    """shirt jacket dress hat suit coat sweater sweatshirt hoodie t-shirt tshirt tee cap skirt tie vest uniform helmet
    costume jersey top outfit gown robe tuxedo blouse apron wetsuit bikini swimsuit tank"""
)

SPATIAL = _words(
    """on at by near behind beside besides under underneath below beneath above over inside outside between among
    amongst against along alongside around across through throughout beyond past toward towards down up off into onto
    to from atop within opposite amid before after aboard touching facing covering surrounding overlooking
    following"""
)
WITH = _words(
    """with without wearing holding carrying riding eating using driving pulling pushing reading throwing hitting
    swinging drinking feeding catching kicking containing featuring showing for like selling serving having chewing
    swinging flying-over displaying resembling"""
)
PLAIN = _words("that which who whose where while as during saying reads labeled labelled named is are was were being")
RESTING = _words(
    """sitting standing walking lying laying hanging flying running jumping looking leaning resting playing swimming
    sleeping waiting watching skating surfing skiing grazing growing sticking coming going pointing parked
    covered seated made filled attached painted hung mounted placed topped stacked surrounded
    decorated dressed pictured shown located laid tied connected printed written built perched positioned full next
    close farthest furthest closest nearest"""
)
"""Verbs that end a head only where a relation or nothing follows: "man sitting on ...", but "a sitting man"."""
MADE = _words("filled made attached painted covered topped stacked decorated dressed printed written built full")
"""Of these, which say what a thing is like and not where it is."""
VERBS = {"has": "with", "have": "with", "wears": "wearing", "holds": "holding", "rides": "riding"}
JOINED = (
    *("on top of", "in front of", "in back of", "next to", "close to", "adjacent to", "left of", "right of"),
    *("out of", "ahead of", "because of", "instead of", "away from", "such as"),
)


WHERE = _words("far upper lower")
SHADES = _words("dark light bright pale")
NO_THING = COLOURS | SIZES | POSITIONS | DETERMINERS | RESTING | WITH | SPATIAL | {"and"}
OWNERS = _words("his her its their my your our this that these those every each")
TIED = ORDINALS | POSITIONS | _words("far upper lower other another")
