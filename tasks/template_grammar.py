"""A grammar that multiplies instruction templates: what stands in for the paper's GPT-4 where there is no model.

``<name>`` is replaced by one of the alternatives of that name, again and again, from ``<sentence>`` on. An alternative
may be empty. Slots and brackets are those of `catalog.instruction_templates`.
"""

import re
from collections.abc import Mapping, Sequence

import numpy as np

from catalog.digests import bytes_digest

VERSION = 1
"""Raised when the same seed gives other sentences."""

Rules = Mapping[str, Sequence[str]]

_NONTERMINAL = re.compile(r"<([a-z_]+)>")

_PHOTO: Rules = {
    "photo": ("photo", "picture", "image", "shot", "photograph", "snapshot"),
    "please": ("", "Please ", "Kindly ", "Now ", "Here is my <photo>: "),
    "could": ("Could you ", "Can you ", "Would you please ", "Are you able to ", "Will you "),
    "want": ("I want you to ", "I would like you to ", "I need you to ", "Your job is to ", "Try to ", "Go ahead and "),
}

_SEGMENTATION: Rules = {
    **_PHOTO,
    "sentence": (
        "<please><act><keep>.",
        "<please><act><keep>.",
        "<could><act><and_keep>?",
        "<want><act><keep>.",
        "<find> {object} and <mark_there><keep>.",
        "Which pixels belong to {object}? Mark them <in> <sheer> {color}.",
        "Which pixels belong to {object}? <answer>.",
        "What part of the <photo> shows {object}? <answer>.",
        "Where in the <photo> can one see {object}? <answer>.",
        "Only {object} should <get> <layer>.",
        "Nothing but {object} may <get> <layer>.",
        "I want {object} to <get> <layer><keep>.",
        "Let {object} <get> <layer><keep>.",
        "The <region> of {object} must turn {color}, yet stay see-through.",
        "Make a segmentation of {object}: <layer>, <rest>.",
        "Semantic mask wanted for {object}, painted in <sheer> {color}.",
        "With <sheer> {color}, <trace> {object}<keep>.",
    ),
    "act": (
        "<cover> {object} with <layer>",
        "<cover> the whole of {object} using <layer>",
        "<lay> <layer> <over> {object}",
        "apply <layer> to {object}",
        "<tint> {object} in <sheer> {color}",
        "<tint> every pixel of {object} {color}",
        "give {object} <layer>",
        "mark the <region> of {object} <in> {color}",
        "mark all pixels that show {object} <in> {color}",
        "blend {color} into the <region> of {object}",
        "mix {color} half and half into the pixels of {object}",
        "segment {object} by means of <layer>",
        "segment out {object}, shown as <layer>",
        "<pick> {object} <in> <sheer> {color}",
        "make {object} stand out under <layer>",
        "set {object} off from its surroundings by <layer>",
        "draw <layer> that fits {object} exactly",
        "create a {color} mask for {object}",
        "show me the extent of {object} as <layer>",
        "let <sheer> {color} fill the outline of {object}",
        "turn the <region> of {object} <sheer> {color}",
        "recolor {object} to a <sheer> {color}",
    ),
    "cover": ("cover", "overlay", "coat", "veil", "wash", "blanket", "fill", "mask", "wrap"),
    "lay": ("lay", "place", "put", "spread", "drop", "stretch", "paint", "drape", "cast", "add"),
    "over": ("over", "on top of", "across", "onto"),
    "tint": ("tint", "color", "dye", "stain", "shade", "highlight", "paint", "tone"),
    "pick": ("pick out", "single out", "bring out", "call out", "point out", "emphasize"),
    "sheer": ("translucent", "half-transparent", "see-through", "sheer", "semi-transparent", "glassy"),
    "layer": (
        "a <sheer> {color} layer",
        "a <sheer> {color} film",
        "a {color} overlay at half opacity",
        "a <sheer> mask of {color}",
        "a thin wash of {color}",
        "a {color} veil",
        "a {color} tint",
        "a coat of <sheer> {color} paint",
        "a texture-preserving {color} glaze",
    ),
    "region": ("region", "area", "surface", "silhouette", "shape", "pixels"),
    "in": ("in", "with", "using"),
    "get": ("carry", "receive", "wear", "get", "lie under", "appear beneath"),
    "trace": ("fill in", "work over", "paint over", "go over", "shade"),
    "find": ("Find", "Locate", "Look for", "Identify", "Detect", "Search the <photo> for", "Spot"),
    "mark_there": (
        "mask that region <in> {color}",
        "shade the place <in> <sheer> {color}",
        "lay <layer> there",
        "dye what you found {color}",
        "cover exactly that part with <layer>",
    ),
    "answer": (
        "Answer with <layer>",
        "Show it by <layer>",
        "Put <layer> there",
        "Reply by shading the spot {color}",
    ),
    "rest": ("the rest as before", "all else untouched", "no other change"),
    "and_keep": ("", "", " and change nothing else", " without touching any other part", " and leave the rest alone"),
    "keep": (
        *("", "", "", "", " and change nothing else", ", leaving the rest as it is", "; all other pixels stay"),
        *(" without touching any other part", " while everything else remains", ", nothing more", " and stop there"),
    ),
}

_KEYPOINTS: Rules = {
    **_PHOTO,
    "sentence": (
        "<please><put> [<a_mark> <at> the {joint}] of {person}<keep>.",
        "<please><put> [<a_mark> <at> the {joint}] of {person}<keep>.",
        "<could><put> [<a_mark> <at> the {joint}] of {person}<and_keep>?",
        "<want><put> [<a_mark> <at> the {joint}] of {person}<keep>.",
        "<please><show> [the {joint} <with> <a_mark>] on {person}<keep>.",
        "<could><show> [the {joint} in {color}] on {person}<and_keep>?",
        "<want><show> [the {joint} <with> <a_mark>] on {person}.",
        "On {person}, <show> [the {joint} <with> <a_mark>]<keep>.",
        "For {person}, <put> [<a_mark> <at> the {joint}].",
        "Looking at {person}, <show> [the {joint} in {color}]<keep>.",
        "Given {person} in the <photo>, <put> [<a_mark> <at> the {joint}].",
        "Annotate {person} with [<a_mark> <at> the {joint}]<keep>.",
        "Mark up {person}: [<a_mark> <at> the {joint}], <rest>.",
        "<detect> these points on {person}: [the {joint} in {color}].",
        "<detect> the pose of {person} and <put> [<a_mark> <at> the {joint}].",
        "Where are the joints of {person}? Show [the {joint} as <a_mark>].",
        "How is {person} posed? Answer by [<a_mark> <at> the {joint}].",
        "There should be [<a_mark> <at> the {joint}] of {person}.",
        "I <need> [<a_mark> <at> the {joint}] of {person}.",
        "Let me see [the {joint} in {color}] on {person}.",
        "Use [{color} for the {joint}] to mark the body of {person}<keep>.",
        "Color code {person}: [{color} for the {joint}], as small round spots.",
        "Tag the body of {person} by [<a_mark> that hides the {joint}]<keep>.",
    ),
    "put": ("place", "put", "draw", "add", "paint", "set", "drop", "stick", "insert", "stamp", "pin", "leave"),
    "show": ("mark", "highlight", "flag", "label", "indicate", "show", "tag", "point out", "locate", "identify"),
    "detect": ("Detect", "Find", "Locate", "Estimate", "Work out", "Track down"),
    "need": ("need", "want", "expect", "would like to see", "ask for", "am looking for"),
    "with": ("with", "by", "using", "under"),
    "a_mark": (
        "a {color} <mark>",
        "a {color} <mark>",
        "a small {color} <mark>",
        "a round {color} <mark>",
        "a solid {color} <mark>",
        "a filled {color} <mark>",
    ),
    "mark": ("dot", "circle", "disc", "spot", "marker", "point", "blob", "ball", "bead"),
    "at": ("on", "over", "at", "right on", "on top of", "exactly at", "centered on"),
    "rest": ("the rest as before", "all else untouched", "no other change", "otherwise the same <photo>"),
    "and_keep": ("", "", " and change nothing else", " without altering other pixels", " and leave it at that"),
    "keep": (
        *("", "", "", "", " and change nothing else", ", leaving the rest of the <photo> alone", "; nothing more"),
        *(", keeping everything else", " without altering other pixels", " and leave it at that"),
    ),
}

_DEBLURRING: Rules = {
    **_PHOTO,
    "sentence": (
        "<please><sharpen> <this><result>.",
        "<please><sharpen> <this><result>.",
        "<could><sharpen> <this><and_result>?",
        "<want><sharpen> <this>.",
        "<why>; <sharpen_it><result>.",
        "<why>. <could><mend>?",
        "<why>, so <mend>.",
        "How would this scene look <steady>?",
        "Show me this <photo> <steady>.",
        "Give me a <crisp> version of <this>.",
        "I would love to see <this> <crisp>.",
        "Make the <blurred> <photo> <crisp> again.",
        "Less blur and more texture, please.",
        "From this <blurred> frame, recover <detail>.",
        "Let <detail> come back in <this>.",
        "Deblurring needed: <result_alone>.",
        "Reverse the <motion> that spoiled <this>.",
        "Turn this <photo> from <blurred> to <crisp>.",
        "It is all a blur; bring out <detail>.",
    ),
    "this": ("this <photo>", "the <photo>", "the <blurred> <photo>", "this frame", "the whole scene"),
    "sharpen": (
        *("sharpen", "deblur", "unblur", "refocus", "crisp up", "remove the blur from", "take the <motion> out of"),
        *("restore the sharpness of", "undo the <motion> in", "bring back <detail> in", "clear up the smear on"),
        *("correct the soft focus of", "stabilize", "tighten the edges of", "add clarity to"),
    ),
    "sharpen_it": ("sharpen it", "deblur it", "refocus it", "crisp it up", "undo that", "make it <crisp>", "steady it"),
    "motion": ("motion blur", "camera shake", "hand shake", "movement", "smearing", "streaks"),
    "detail": ("fine detail", "the lost detail", "clean edges", "crisp contours", "texture", "the small structures"),
    "blurred": ("blurry", "smeared", "shaky", "unsharp", "fuzzy", "out-of-focus"),
    "crisp": ("sharp", "crisp", "tack-sharp", "clear", "well focused", "steady and clean"),
    "and_result": ("", "", " so that every edge is clear", " until fine detail shows", " and alter nothing else"),
    "result": (
        *("", "", "", " so that every edge is clear", " until fine detail shows", ", keeping its content"),
        *(" as if it had been taken from a tripod", " and alter nothing else", ", with natural contours"),
    ),
    "result_alone": ("edges crisp, content the same", "the same scene in focus", "a <crisp> <photo>, nothing added"),
    "why": (
        *("The camera moved", "My hands were shaking", "This came out <blurred>", "The shutter was too slow"),
        *(
            "The subject ran through the frame",
            "The focus missed",
            "The lens was out of focus",
            "We drove past too fast",
        ),
    ),
    "mend": (
        "fix that",
        "undo it",
        "get the sharpness back",
        "give me <detail>",
        "repair the <photo>",
        "rescue <this>",
    ),
    "steady": (
        *("taken with a steady hand", "without any <motion>", "in perfect focus", "shot from a tripod"),
        *("at a faster shutter speed", "once the <motion> is gone"),
    ),
}

_DENOISING: Rules = {
    **_PHOTO,
    "sentence": (
        "<please><clean> <this><result>.",
        "<please><clean> <this><result>.",
        "<could><clean> <this><and_result>?",
        "<want><clean> <this>.",
        "<why>; <clean_it><result>.",
        "<why>. <could><mend>?",
        "<why>, so <mend>.",
        "How would this scene look <quiet>?",
        "Show me this <photo> <quiet>.",
        "Give me a <smooth> version of <this>.",
        "I would love to see <this> <smooth>.",
        "Make the <noisy> <photo> <smooth>.",
        "Less grain and more signal, please.",
        "Separate the real texture from the <noise> and keep only the former.",
        "Behind the <noise> lies a <smooth> <photo>: show it.",
        "Denoising needed: <result_alone>.",
        "Filter <this>, for it is full of <noise>.",
        "Turn this <photo> from <noisy> to <smooth>.",
        "No more <noise> in <this>.",
    ),
    "this": ("this <photo>", "the <photo>", "the <noisy> <photo>", "this frame", "the whole scene"),
    "clean": (
        *("denoise", "clean up", "remove the <noise> from", "take the <noise> out of", "smooth away the <noise> in"),
        *("reduce the <noise> of", "filter", "get rid of the <noise> in", "suppress the <noise> across", "purify"),
        *("wipe the <noise> off", "calm down the <noise> in", "polish", "rid the scene of <noise> and show me"),
    ),
    "clean_it": (
        "denoise it",
        "clean it up",
        "filter it",
        "smooth it out",
        "make it <smooth>",
        "purify it",
        "rescue it",
    ),
    "noise": ("noise", "grain", "sensor noise", "speckles", "colored dots", "random specks", "static", "graininess"),
    "noisy": ("noisy", "grainy", "speckled", "high-ISO", "gritty", "rough"),
    "smooth": ("clean", "smooth", "noise-free", "pure", "clear", "silky"),
    "and_result": ("", "", " but keep the texture", " without losing detail", " while edges stay sharp"),
    "result": (
        *(
            "",
            "",
            "",
            " but keep the texture",
            " without losing detail",
            ", colors unchanged",
            " while edges stay sharp",
        ),
        *(" as if it had been shot in daylight", " and alter nothing else"),
    ),
    "result_alone": (
        "smooth surfaces, sharp edges",
        "the same scene without <noise>",
        "a <smooth> <photo>, nothing added",
    ),
    "why": (
        *("It was dark", "The ISO was far too high", "This came out <noisy>", "The sensor was hot", "Light was scarce"),
        *("My phone is bad at night", "There are specks everywhere", "Every surface crawls with dots"),
    ),
    "mend": (
        *("fix that", "give me the <photo> without <noise>", "take out the <noise>", "repair the <photo>", "rescue it"),
        *("let the surfaces be even", "clear the <noise> away"),
    ),
    "quiet": (
        *("without any <noise>", "taken at the lowest ISO", "in good light", "from a better sensor"),
        *("after careful denoising", "free of <noise>"),
    ),
}

_WATERMARKS: Rules = {
    **_PHOTO,
    "sentence": (
        "<please><erase> <the_mark> <from> <this><result>.",
        "<please><erase> <the_mark> <from> <this><result>.",
        "<could><erase> <the_mark><and_result>?",
        "<want><erase> <the_mark> <from> <this>.",
        "<why>; <erase_it><and_result>.",
        "<why>. <could><mend>?",
        "<why>, so <mend>.",
        "How did this scene look <before>?",
        "Show me this <photo> <before>.",
        "Give me <this> <before>.",
        "I would love a version of <this> that bears no <mark>.",
        "Make <the_mark> vanish<result>.",
        "Let nothing remain of the <mark> on <this>.",
        "Watermark removal needed: <result_alone>.",
        "Fill in what the <mark> hides<result>.",
        "Uncover the <photo> beneath the <mark>.",
        "Without its <mark>, <this> would be perfect: show that.",
        "Free <this> of <the_mark>.",
        "No <mark>, just the <photo>, please.",
    ),
    "this": ("this <photo>", "the <photo>", "my <photo>", "this stock <photo>", "the scene"),
    "erase": (
        *("erase", "remove", "delete", "take away", "wipe off", "clear away", "get rid of", "scrub off", "peel off"),
        *("eliminate", "rub out", "clean off", "dissolve", "edit out", "lift"),
    ),
    "from": ("from", "that lies on", "printed across", "covering", "laid over", "running across"),
    "mark": ("watermark", "logo", "stamp", "overlay", "brand mark", "copyright text", "lettering", "imprint"),
    "a_mark": ("a watermark", "a logo", "a stamp", "an overlay", "a brand mark", "some lettering", "an imprint"),
    "erase_it": (
        "erase it",
        "remove it",
        "take it off",
        "wipe it away",
        "make it vanish",
        "edit it out",
        "delete that",
    ),
    "the_mark": ("the <mark>", "the <mark>", "the translucent <mark>", "that <mark>", "every trace of the <mark>"),
    "and_result": ("", "", " and restore what lies beneath", " without a trace", " and rebuild the hidden pixels"),
    "result": (
        *("", "", "", " and restore what lies beneath", ", leaving all else untouched", " without a trace"),
        *(" and rebuild the hidden pixels", " so that one cannot tell it was there", "; colors stay as they are"),
    ),
    "result_alone": (
        "the bare scene, nothing added",
        "a clean <photo> as the camera saw it",
        "all text and logos gone",
    ),
    "why": (
        *(
            "There is <a_mark> on it",
            "Look, <a_mark> spoils the view",
            "Someone stamped this <photo>",
            "Letters run across it",
        ),
        *(
            "In the middle I see <a_mark>",
            "The agency left its <mark>",
            "I bought this <photo>, yet the <mark> is still there",
        ),
    ),
    "mend": (
        *("clean it", "give me the original", "take it off", "restore the <photo>", "recover what is behind"),
        *("make it disappear", "repair the covered part"),
    ),
    "before": (
        *("before it was stamped", "without the <mark>", "as it was originally", "once the <mark> is gone"),
        *("clean of any <mark>", "with no text or logo on it"),
    ),
}

GRAMMARS: dict[str, Rules] = {
    "segmentation": _SEGMENTATION,
    "keypoint_detection": _KEYPOINTS,
    "deblurring": _DEBLURRING,
    "denoising": _DENOISING,
    "watermark_removal": _WATERMARKS,
}
"""One grammar per template file."""


def derive(name: str, rng: np.random.Generator) -> str:
    """One sentence of the grammar ``name``; it may have been derived before."""
    rules, text = GRAMMARS[name], "<sentence>"
    while found := _NONTERMINAL.search(text):
        alternatives = rules[found[1]]
        text = text[: found.start()] + alternatives[int(rng.integers(len(alternatives)))] + text[found.end() :]
    return text[0].upper() + text[1:]


def grammar_revision() -> str:
    """Names exactly these grammars."""
    rules = repr([(name, sorted(rules.items())) for name, rules in GRAMMARS.items()])
    return f"{VERSION}+{bytes_digest(rules.encode())[:12]}"
