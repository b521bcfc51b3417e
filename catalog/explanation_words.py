"""An explanation for a reader: what `explanation.explain` found, as lines of text."""

import json
from typing import Any

from catalog.command_line import printable
from catalog.schema import SCORE_NAMES

_NUM_NAMED = 5
_MAX_TEXT = 300  # characters of a request


def in_words(explanation: dict[str, Any]) -> str:
    """The explanation for a reader."""
    pair, region = explanation["pair"], explanation["region"] or {}
    lines = [f"{pair['pair_id']}  ({', '.join(explanation['builds'])})", ""]
    lines += _facts(
        ("kind", ", ".join(dict.fromkeys(filter(None, (pair["vision_task"], pair["edit_type"]))))),
        ("instruction", pair["instruction"] or (None if pair["reason"] else "worded at load time")),
        ("usable", "yes" if pair["reason"] is None else f"no: {pair['reason']} ({pair['detail']})"),
        ("dataset", f"{pair['dataset']}, licence {pair['licence'] or 'not given'}"),
        ("photo", f"{pair['group_id']}, split {pair['split']}"),
        ("region", f"{pair['region_id']}: {pair['phrase'] or pair['label'] or 'no words'}"),
        *_request_facts(explanation["request"]),
        ("region area", f"{region['area']} pixels" if region.get("area") else None),
        ("edit area", _area_words(explanation["edit_area"])),
        ("source", _place_words(explanation["source_image"])),
        ("target", _place_words(explanation["target_image"]) or "drawn at load time"),
        ("donor", _donor_words(pair["donor"])),
        ("donor photo", _place_words(explanation["donor_image"])),
        ("captions", " -> ".join(filter(None, (pair["source_caption"], pair["target_caption"]))) or None),
        ("backends", ", ".join(pair["backends"] or [])),
        ("parameters", pair["parameters"]),
        ("steps", _step_words(explanation["making"]["steps"])),
        ("not readable", "; ".join(explanation["making"]["problems"]) or None),
        ("gallery", _gallery_words(explanation["making"]["gallery"])),
        *((name, _pairs_words(explanation["making"][name])) for name in ("seeds", "prompts", "options")),
        ("reversed", pair["reversed_pair_id"]),
        ("withdrawn", _withdrawal_words(explanation["withdrawals"])),
        ("same photo", _group_words(explanation["group"])),
    )
    return "\n".join([*lines, "", *_score_words(explanation), *_verdict_words(explanation), *_mix_words(explanation)])


def _request_facts(request: dict[str, Any] | None) -> list[tuple[str, str | None]]:
    """What a photo request says, as it was fetched."""
    if request is None:
        return []
    names = {"page": "page", "asked": "request_text", "photo at": "photo", "result at": "result"}
    words = [(name, _shortened(request[column] or "")) for name, column in names.items()]
    placed = request["num_inliers"]
    how = f"{placed} features agree" if placed else "by size and look"
    alike = f"{how}, {request['alike_share']:.0%} looks the same" if request["alike_share"] is not None else None
    return [*words, ("matched", alike)]


def _shortened(text: str) -> str | None:
    text = text if len(text) <= _MAX_TEXT else text[: _MAX_TEXT - 1] + "…"
    return " ".join(text.split()) or None


def _facts(*facts: tuple[str, str | None]) -> list[str]:
    return [f"  {name:<12} {printable(text)}" for name, text in facts if text]


def _step_words(steps: list[dict[str, Any]]) -> str:
    return " -> ".join(f"{step['step']} {step['shard'][:8]}" for step in steps)


def _gallery_words(gallery: dict[str, Any] | None) -> str | None:
    if gallery is None:
        return None
    digests = ", ".join(f"SHA-256 {digest[:12]}" for digest in gallery["index_sha256"].values())
    size = "not in this build" if gallery["num_patches"] is None else f"{gallery['num_patches']} patches"
    return ", ".join(filter(None, (gallery["shard"], size, *gallery["index"], digests)))


def _pairs_words(values: dict[str, Any]) -> str:
    return ", ".join(
        f"{name} {json.dumps(value) if isinstance(value, dict) else value}" for name, value in values.items()
    )


def _withdrawal_words(withdrawals: list[dict[str, Any]]) -> str | None:
    notes = (f"{one['kind']} {one['value']}" + (f" ({one['note']})" if one["note"] else "") for one in withdrawals)
    return ", ".join(notes) or None


def _group_words(group: list[dict[str, Any]]) -> str | None:
    named = ", ".join(other["pair_id"] for other in group[:_NUM_NAMED])
    return f"{named} and {len(group) - _NUM_NAMED} more" if len(group) > _NUM_NAMED else named or None


def _area_words(area: dict[str, Any] | None) -> str | None:
    return None if area is None else f"{area['pixels']} pixels, {area['share']:.2%} of the image"


def _donor_words(donor: dict[str, Any] | None) -> str | None:
    if donor is None:
        return None
    words = donor["name"] or donor["phrase"] or "no words"
    return (
        f"{donor['region_id']}: {words}, licence {donor['licence'] or 'not given'}, similarity "
        f"{donor['similarity']:.4f}, rank {donor['rank']}, gallery {donor['gallery']}"
    )


def _place_words(image: dict[str, Any] | None) -> str | None:
    if image is None:
        return None
    size = f"{image['width']}x{image['height']}"
    if image["file"] is None:
        return f"{image['root']}/{image['path']}, {size} (roots.json has no folder for {image['root']!r})"
    member = f", member {image['tar_member']}" if image["tar_member"] else ""
    gone = "" if image["exists"] else " (missing)"
    return f"{image['file']}{gone}{member}, {size}, {image['length']} bytes from {image['offset']}"


def _score_words(explanation: dict[str, Any]) -> list[str]:
    scores = explanation["scores"]
    if scores is None:
        return ["Not scored."]
    if scores["reason"]:
        return [printable(f"Not scored: {scores['reason']} ({scores['detail']}).")]
    known = [(name, f"{scores[name]:.4f}") for name in SCORE_NAMES if scores[name] is not None]
    return ["Scores, by " + ", ".join(scores["backends"] or []), *(f"  {name:<24} {text}" for name, text in known)]


def _verdict_words(explanation: dict[str, Any]) -> list[str]:
    lines = [] if explanation["verdicts"] else ["No policy has decided yet."]
    for verdict in explanation["verdicts"]:
        outcome = "accepted" if verdict["accepted"] else f"rejected: {verdict.get('condition', 'no verdict')}"
        lines.append(f"Policy {verdict['policy']} v{verdict['version']}: {outcome}")
        for item in verdict["conditions"]:
            value, threshold = _number(item["value"]), _number(item["threshold"])
            outcome = (
                f"{'holds' if item['holds'] else 'fails'}: {item['looks_at']} {value}, {item['relation']} {threshold}"
            )
            lines.append(f"  {item['name']:<24} {outcome if item['applies'] else 'is not about this pair'}")
    return lines


def _mix_words(explanation: dict[str, Any]) -> list[str]:
    lines = [] if explanation["mixes"] else ["There is no mix yet."]
    for mix in explanation["mixes"]:
        draws = mix["draws"]
        positions = ", ".join(str(draw["position"]) for draw in draws if draw["position"] is not None)
        place = f"at positions {positions}" if positions else "for evaluation"
        source = f"source {draws[0]['mix_source']}, split {draws[0]['split']}, {place}" if draws else "not drawn"
        lines.append(f"Mix {mix['file']}: {mix.get('problem', source)}")
    return lines


def _number(value: float | None) -> str:
    return "none" if value is None else f"{value:.4g}"
