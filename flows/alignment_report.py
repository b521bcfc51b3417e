"""The report of an alignment: what was shown, who chose how far alike, what trained, the curve beside the paper's."""

import base64
import json
from pathlib import Path

from prefect.artifacts import create_markdown_artifact

from catalog.agreement import Agreement
from catalog.alignment_sets import AlignmentSet
from catalog.chosen_pairs import ChosenPairs
from catalog.durable import write_file
from flows.alignment_plans import AlignmentPlan


def write_alignment_report(
    folder: Path, plan: AlignmentPlan, alignment: AlignmentSet, chosen: ChosenPairs, agreement: Agreement
) -> float:
    """``alignment.md`` and ``alignment.json`` in a stage-3 run's folder; the curve lies in ``curve/``.

    Returns the epochs that were trained: whole steps, so seldom the plan's number.
    """
    epochs = json.loads((folder / "curve" / "curve.json").read_bytes())["points"][-1]["epoch"]
    variants = max((len(item.variants) for item in alignment.items.values()), default=0)
    rows = [
        ("", "here", "paper (sections 3.3, 4.8)"),
        ("items", str(chosen.num_items), "1,000"),
        ("variants of each", str(variants), "20"),
        ("variants that could not be made", str(alignment.num_failed), "-"),
        ("who chose", _who(plan, chosen), "people"),
        ("items that nothing was chosen of", str(chosen.num_none), "-"),
        ("chosen pairs", str(chosen.num_pairs), "1,000"),
        ("agreement on variants (alpha)", _number(agreement.alpha_variants), "-"),
        ("agreement on sets (alpha, MASI)", _number(agreement.alpha_sets), "-"),
        ("overlap of two people", _number(agreement.overlap), "-"),
        ("epochs", f"{epochs:.3g}", "about 10"),
    ]
    lines = [f"| {' | '.join(row)} |" for row in (rows[0], ("---", "---:", "---:"), *rows[1:])]
    curve = (folder / "curve" / "curve.md").read_text(encoding="utf-8").partition("\n\n")[2]
    title = f"# Human alignment: {alignment.name}"
    text = "\n".join([title, "", *lines, "", "## Figure 10: CLIP-Sim by epoch", "", curve])
    write_file(folder / "alignment.md", [text.encode()])
    facts = {"set": alignment.name, "plan": plan.name, "epochs": epochs, "agreement": agreement.as_dict()}
    facts |= {name: getattr(chosen, name) for name in ("num_items", "num_answered", "num_none", "num_pairs")}
    write_file(folder / "alignment.json", [json.dumps(facts, indent=2).encode() + b"\n"])
    return float(epochs)


def publish_alignment(folder: Path) -> None:
    """The report on the flow run's page, with the curve as a picture."""
    picture = base64.b64encode((folder / "curve" / "curve.png").read_bytes()).decode()
    text = (folder / "alignment.md").read_text(encoding="utf-8")
    create_markdown_artifact(
        key="alignment",
        markdown=f"{text}\n![CLIP-Sim by epoch](data:image/png;base64,{picture})",
        description=f"Human alignment in {folder.name}, beside the paper's values",
    )


def _who(plan: AlignmentPlan, chosen: ChosenPairs) -> str:
    judges = chosen.manifest.parameters["judges"]
    many = len(chosen.people)
    one, several = ("simulated judge", "simulated judges") if judges == "simulated" else ("person", "people")
    return f"{many} {one if many == 1 else several}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
