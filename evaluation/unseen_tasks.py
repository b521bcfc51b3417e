"""Tasks that no stage trains: detection, classification and face alignment (paper section 4.9, Figure 11).

==================  ================================  =========================================================
task                asked of rows of                  read how
==================  ================================  =========================================================
``detection``       segmentation, once per phrase     box: top, bottom, left and right of the marked region
``classification``  segmentation, once per class      the class that marks most, one of them being there
``face_alignment``  keypoints of faces                circles' centres; distance over that between the eyes
==================  ================================  =========================================================

Prompts are template files in ``evaluation/prompts/TASK``. The paper shows pictures and prints no number.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from catalog.render_styles import RenderOptions
from catalog.roots import Roots
from evaluation.cases import Case, HeldOutRow, render_cases
from evaluation.unseen_boxes import Detection
from evaluation.unseen_classes import Classification
from evaluation.unseen_faces import FaceAlignment
from evaluation.unseen_options import UnseenOptions, UnseenTask

PROMPTS = Path(__file__).with_name("prompts")

TASKS: dict[str, Callable[[UnseenOptions], UnseenTask]] = {
    task.name: task
    for task in (Detection, Classification, FaceAlignment)  # type: ignore[attr-defined]
}
"""By name, as on the command line."""


def unseen_cases(task: UnseenTask, row: HeldOutRow, roots: Roots, seed: int, options: RenderOptions) -> list[Case]:
    """The samples of one question, worded by the task's own prompts, the whole picture shown but for faces."""
    worded = replace(options, wording=str(PROMPTS / task.name), absent_classes="paper")
    protocol = "crops" if task.vision_task == "keypoint_detection" else "referring"
    return render_cases(row, roots, seed, worded, protocol)  # type: ignore[arg-type]
