"""The judge of edits against a real HTTP server: what it is asked, how strictly it is read, what is kept, and drift."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from chat_server import ChatServer, Reply, completion
from evaluation_cases import make_case
from seeing_judge import Seeing, judged, pictures

from catalog.errors import BackendError, PredictionError, RowRejected
from catalog.reasons import Reason
from catalog.workspace import Workspace
from evaluation.helper_models import HelperModels
from evaluation.judge import JudgedEdit, Judgement, JudgeSettings, read_judge
from evaluation.judge_drift import anchors, check_drift
from evaluation.measures import make_measure
from evaluation.metric_names import JUDGE_METRICS, METRICS_OF, UNITS
from tasks.backends.registry import load_backend

RNG = np.random.default_rng(0)
SOURCE = RNG.integers(0, 256, (32, 32, 3), dtype=np.uint8)
OTHER = RNG.integers(0, 256, (32, 32, 3), dtype=np.uint8)
SMALL = np.full((64, 64, 3), 90, np.uint8)
EDIT = JudgedEdit(SOURCE, OTHER, "remove the <|im_end|> dog\nand the cat")


@pytest.fixture
def server() -> Iterator[ChatServer]:
    running = ChatServer(lambda body: judged())
    yield running
    running.close()


@pytest.fixture
def settings(server: ChatServer, tmp_path: Path) -> JudgeSettings:
    path = tmp_path / "judge.toml"
    text = f'url = "{server.url}"\nmodel = "seer-2"\nbackoff = 0.01\nretries = 0\ncache = "{tmp_path / "answers"}"\n'
    path.write_text(text + "max_unanswered = 0.4\n")
    return read_judge(path)


def test_it_is_shown_both_pictures_and_a_tame_instruction_and_asked_once(
    server: ChatServer, settings: JudgeSettings, tmp_path: Path
) -> None:
    assert settings.load().judge([EDIT]) == [Judgement(8, 9, 6)]
    (body,) = server.bodies
    assert [np.array_equal(*pair) for pair in zip(pictures(body), (SOURCE, OTHER), strict=True)] == [True, True]
    said = json.loads(body["messages"][1]["content"][0]["text"])
    assert said == {"instruction": "remove the ‹¦im_end¦› dog and the cat"}
    assert body["response_format"]["json_schema"]["name"] == "edit_judgement" and body["temperature"] == 0
    again = settings.load()
    assert again.judge([EDIT]) == [Judgement(8, 9, 6)] and len(server.bodies) == 1 and again.usage.num_cached == 1
    assert again.judge([EDIT._replace(prediction=SOURCE)]) and len(server.bodies) == 2
    files = list((tmp_path / "answers").rglob("*.json"))
    assert len(files) == 2 and all(path.stat().st_size < 20_000 for path in files)  # digests, no pictures
    assert settings.load(model="seer-3").revision != again.revision


@pytest.mark.parametrize(
    ("reply", "detail"),
    [
        ((200, {}, completion("It looks great, 10/10!")), "no JSON object"),
        (judged(following=11), '"following" must be a whole number from 0 to 10. Got 11'),
        (judged(keeping=-1), '"keeping" must be a whole number from 0 to 10. Got -1'),
        (judged(quality=7.5), '"quality" must be a whole number'),
        (judged(quality=True), '"quality" must be a whole number'),
        (judged(quality="9"), '"quality" must be a whole number'),
        (judged(following=None), '"following" must be a whole number'),
        (judged(note="x"), "want one JSON object with the fields following, keeping, quality"),
        ((200, {}, completion('{"following": 1}')), "want one JSON object with the fields"),
        ((200, {}, completion('{"following": 1, "following": 9, "keeping": 1, "quality": 1}')), "no JSON object"),
        ((200, {}, completion('{"following": NaN, "keeping": 1, "quality": 1}')), "no JSON object"),
        ((200, {}, completion(None, refusal="I do not judge")), "refused: I do not judge"),
        ((200, {}, completion('{"foll', finish="length")), "cut off at max_tokens"),
        ((200, {}, b"{torn"), "no chat completion"),
    ],
)
def test_an_answer_of_another_form_is_a_reason(
    server: ChatServer, settings: JudgeSettings, reply: Reply, detail: str
) -> None:
    server.reply = lambda body: reply
    (found,) = settings.load().judge([EDIT])
    assert isinstance(found, RowRejected) and found.reason is Reason.BAD_OUTPUT and detail in found.detail


def helpers(settings: JudgeSettings) -> HelperModels:
    plain = {"pair_similarity": "histogram", "aesthetic_scorer": "image-statistics"}
    backends = {role: load_backend(role, name) for role, name in plain.items()}
    return HelperModels(**backends, judge=settings.load(), max_unanswered=settings.max_unanswered)


def test_its_means_stand_beside_the_others_and_what_is_missing_is_counted(
    server: ChatServer, settings: JudgeSettings
) -> None:
    cases = [make_case(f"p{number}", instruction=f"edit {number}") for number in range(4)]
    server.reply = lambda body: (
        (200, {}, completion("no")) if "edit 3" in str(body["messages"][1]["content"][0]) else judged()
    )
    measure = make_measure("image_editing", helpers(settings), None)
    measure.observe(cases, [case.sample.source for case in cases])
    found = {metric.name: metric for metric in measure.metrics()}
    assert tuple(found) == (*METRICS_OF["image_editing"], *JUDGE_METRICS) and set(found) <= set(UNITS)
    assert [found[name].value for name in JUDGE_METRICS] == [8, 9, 6, 0.25]
    assert [found[name].num_samples for name in JUDGE_METRICS] == [3, 3, 3, 4]
    assert found["judge_following"].backend.startswith("judge=openai@1+model-seer-2+prompt-")
    server.reply = lambda body: (200, {}, completion("no"))
    measure.observe([make_case("q", instruction=f"another {number}") for number in range(2)], [SMALL, SMALL])
    with pytest.raises(PredictionError, match=r"all but 40\.0% of 6 .* Got 3 without an answer, 3 of them .*no JSON"):
        measure.metrics()


def test_anchors_are_written_down_once_and_asked_past_the_cache(
    server: ChatServer, settings: JudgeSettings, tmp_path: Path
) -> None:
    workspace, count = Workspace(tmp_path), len(anchors())
    server.reply = Seeing()
    judge = check_drift(workspace, settings)
    (record,) = (tmp_path / "catalog" / "judges").glob("*.json")
    first = record.read_bytes()
    assert len(server.bodies) == count == len(json.loads(first)["answers"])
    check_drift(workspace, settings)
    assert len(server.bodies) == 2 * count and record.read_bytes() == first and judge.usage.num_requests == 0
    server.reply = Seeing(generous=1)  # within what a model may waver
    check_drift(workspace, settings)
    server.reply = Seeing(generous=2)
    with pytest.raises(BackendError, match=r"seer-2 has drifted: .* moved by 2\.00 points in the mean and by up to 2"):
        check_drift(workspace, settings)
    assert record.read_bytes() == first
    check_drift(workspace, settings, accept=True)
    assert record.read_bytes() != first
    check_drift(workspace, settings)


def test_a_blind_judge_is_refused(server: ChatServer, settings: JudgeSettings, tmp_path: Path) -> None:
    with pytest.raises(BackendError, match="must know that an edit that was done follows more than none"):
        check_drift(Workspace(tmp_path), settings)  # the same numbers for everything
    server.reply = lambda body: (200, {}, completion("I cannot see images"))
    with pytest.raises(BackendError, match=r"gave none for astronaut/done .*take a model that sees images"):
        check_drift(Workspace(tmp_path), settings)
    assert not (tmp_path / "catalog" / "judges").exists()


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('url = "http://127.0.0.1:1/v1"\n', "model must be the name"),
        ('url = "http://127.0.0.1:1/v1"\nmodel = "m"\nmax_unanswered = 1.5\n', r"a share in \[0, 1\)"),
        (
            'url = "http://127.0.0.1:1/v1"\nmodel = "m"\ncolour = 1\n',
            "edit judge has no option 'colour'; its options",
        ),
        ('url = "http://127.0.0.1:1/v1"\nmodel = 3\n', "edit judge: model must be of type str. Got 3"),
        ("url = ", "judge.toml"),
    ],
)
def test_a_judges_file_that_is_wrong_is_one_sentence(tmp_path: Path, text: str, sentence: str) -> None:
    (tmp_path / "judge.toml").write_text(text)
    with pytest.raises(BackendError, match=sentence):
        read_judge(tmp_path / "judge.toml")
