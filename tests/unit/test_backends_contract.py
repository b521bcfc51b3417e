"""What every backend of every role must hold: the registry is the list of cases, so a new backend is tested at once.

Embedded backends run as they are, real ones on a tiny checkpoint of their true architecture that a recipe saves. A
backend without a recipe fails here.
"""

import copy
import importlib
import inspect
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checkpoints.blip2 import save_blip2
from checkpoints.chat_model import save_chat_model
from checkpoints.dino import save_dino
from checkpoints.laion import save_linear_head, save_mlp_head
from checkpoints.lama import save_tiny_lama
from checkpoints.lpips import save_lpips
from checkpoints.open_clip import WIDTH, save_open_clip
from checkpoints.paint_by_example import save_paint_by_example

from catalog.errors import BackendError, RowRejected
from catalog.reasons import Reason
from tasks.backends.calls import call_batch
from tasks.backends.protocols import METHODS, InstructionRequest
from tasks.backends.registry import ROLES, backend_id, load_backend
from tasks.profiles import read_profile

EMBEDDED = {
    ("inpainter", "opencv"),
    ("inpainter", "exemplar"),
    ("replacer", "gradient-paste"),
    ("embedder", "histogram"),
    ("index", "faiss-flat"),
    ("index", "faiss-auto"),
    ("captioner", "labels"),
    ("instructor", "grammar"),
    ("aesthetic_scorer", "image-statistics"),
    ("quality_scorer", "knn-giqa"),
    ("pair_similarity", "histogram"),
    ("caption_editor", "rules"),
    ("feature_similarity", "histogram"),
    ("perceptual_distance", "laplacian-pyramid"),
}
"""Backends that need nothing."""


def _lama(folder: Path) -> dict[str, Any]:
    folder.mkdir()
    return {"weights": str(folder), "md5": save_tiny_lama(folder / "big-lama.pt")}


def _paint_by_example(folder: Path) -> dict[str, Any]:
    return {"weights": str(save_paint_by_example(folder)), "size": 64, "steps": 2}


def _open_clip(folder: Path) -> dict[str, Any]:
    return {"weights": str(save_open_clip(folder))}


def _blip2(folder: Path) -> dict[str, Any]:
    return {"weights": str(save_blip2(folder)), "max_new_tokens": 4}


def _chat_model(folder: Path) -> dict[str, Any]:
    return {"weights": str(save_chat_model(folder)), "max_new_tokens": 8}


def _dino(folder: Path) -> dict[str, Any]:
    return {"weights": str(save_dino(folder))}


def _laion_linear(folder: Path) -> dict[str, Any]:
    return {**_open_clip(folder), "head": str(save_linear_head(folder / "head.pth", WIDTH))}


def _laion_mlp(folder: Path) -> dict[str, Any]:
    return {**_open_clip(folder), "head": str(save_mlp_head(folder / "head.pth", WIDTH))}


RECIPES: dict[tuple[str, str], Callable[[Path], dict[str, Any]]] = {
    ("inpainter", "lama"): _lama,
    ("replacer", "paint-by-example"): _paint_by_example,
    ("embedder", "open-clip"): _open_clip,
    ("captioner", "blip2"): _blip2,
    ("instructor", "transformers"): _chat_model,
    ("aesthetic_scorer", "laion-linear"): _laion_linear,
    ("aesthetic_scorer", "laion-mlp"): _laion_mlp,
    ("pair_similarity", "open-clip"): _open_clip,
    ("caption_editor", "transformers"): _chat_model,
    ("feature_similarity", "dino"): _dino,
    ("perceptual_distance", "lpips"): save_lpips,
}
"""Saves a tiny checkpoint in a folder that does not exist yet and gives the options that load it."""

SERVERS = {
    ("inpainter", "lama-cleaner"),
    ("inpainter", "iopaint"),
    ("instructor", "openai"),
    ("caption_editor", "openai"),
}
"""Backends that talk to a server: the tests that start one hold them to the same rules."""

BABBLERS = {("instructor", "transformers"), ("caption_editor", "transformers")}
"""A random language model words no instruction, so its answers are rejected: each one for that and nothing else."""

BACKENDS = [(role, name) for role, names in ROLES.items() for name in names if (role, name) not in SERVERS]
ROWS = [(role, name) for role, name in BACKENDS if role != "index"]
PROFILES = sorted((Path(__file__).parents[2] / "infra" / "profiles").glob("*.toml"))
_options: dict[tuple[str, str], dict[str, Any]] = {}


@pytest.fixture(scope="module", autouse=True)
def tiny_checkpoints(tmp_path_factory: pytest.TempPathFactory) -> None:
    for (role, name), save in RECIPES.items():
        _options[role, name] = save(tmp_path_factory.mktemp("weights") / f"{role}-{name}")


SIZES = ((40, 56), (64, 64), (31, 47), (90, 33))


def _images(seed: int = 0) -> list[np.ndarray]:
    random = np.random.default_rng(seed)
    images = []
    for height, width in SIZES:
        ramp = np.linspace(0, 200, width)[None, :, None] + random.uniform(0, 55, (height, width, 3))
        images.append(ramp.astype(np.uint8))
    return images


def _masks() -> list[np.ndarray]:
    masks = [np.zeros(size, bool) for size in SIZES]
    masks[0][10:25, 20:40] = True
    masks[1][:12, 50:] = True  # at a corner
    masks[2][5:9, 5:9] = True
    masks[2][20:28, 30:46] = True
    masks[3][:, 10:20] = True  # from rim to rim
    return masks


def _columns(role: str) -> tuple[tuple[Any, ...], dict[str, Any], dict[str, Any]]:
    """(columns, shared, named columns) of `call_batch` for four items."""
    random = np.random.default_rng(1)
    captions = ["a red car", "a green field", None, "a man and a dog"]
    vectors = random.normal(size=(4, 12)).astype(np.float32)
    requests = [
        InstructionRequest(edit_type="object_removal", phrase="blue bird on top of tree"),
        InstructionRequest(edit_type="object_addition", phrase="red car", num_instances=3),
        InstructionRequest(edit_type="object_replacement", phrase="running dog", replacement_phrase="cute cat"),
        InstructionRequest(
            edit_type="object_removal", label="cup", attributes=("white",), relations=(("on", "table"),)
        ),
    ]
    cases: dict[str, tuple[tuple[Any, ...], dict[str, Any], dict[str, Any]]] = {
        "inpainter": ((_images(), _masks()), {}, {}),
        "replacer": ((_images(), _masks(), _images(5)[::-1]), {}, {}),
        "embedder": ((_images(),), {}, {}),
        "captioner": ((_images(), [["cup", "cup"], [], ["person"], ["dog"]], [[], [], [], ["A dog runs."]]), {}, {}),
        "instructor": ((requests,), {}, {}),
        "aesthetic_scorer": ((_images(),), {}, {}),
        "quality_scorer": (
            (vectors,),
            {"references": random.normal(size=(9, 12)).astype(np.float32)},
            {"exclude": [[0], [], [3, 4], []]},
        ),
        "pair_similarity": ((_images(), _images(7), captions, captions[::-1]), {}, {}),
        "caption_editor": (
            (["a dog", "a cup and a plate", "a photo", "a cat"], ["remove the dog", "add a red hat"] * 2),
            {},
            {},
        ),
        "feature_similarity": ((_images(), _images(7)), {}, {}),
        "perceptual_distance": ((_images(), _images(7)), {}, {}),
    }
    return cases[role]


def _load(role: str, name: str) -> Any:
    return load_backend(role, name, **_options.get((role, name), {}))


def _run(role: str, backend: Any, items: slice = slice(None)) -> list[Any]:
    columns, shared, named = _columns(role)
    named = {key: column[items] for key, column in named.items()}
    return call_batch(role, backend, *(column[items] for column in columns), shared=shared, **named)


def _assert_equal(first: Any, second: Any) -> None:
    assert type(first) is type(second)
    if isinstance(first, RowRejected):
        first, second = (first.reason, first.detail), (second.reason, second.detail)
    if isinstance(first, dict):
        assert first.keys() == second.keys()
        first, second = list(first.values()), list(second.values())
    np.testing.assert_array_equal(first, second)


def test_every_role_has_a_method_and_a_backend() -> None:
    assert METHODS.keys() == ROLES.keys()
    assert all(ROLES.values())


def test_every_backend_is_tested_here_or_with_its_server() -> None:
    listed = [*EMBEDDED, *RECIPES, *SERVERS]
    assert sorted(listed) == sorted((role, name) for role, names in ROLES.items() for name in names)
    texts = [path.read_text() for path in Path(__file__).parents[1].rglob("test_*.py") if path != Path(__file__)]
    for _, name in SERVERS:
        assert any(f'"{name}"' in text for text in texts), name


@pytest.mark.parametrize(("role", "name"), BACKENDS)
def test_says_who_it_is(role: str, name: str) -> None:
    backend = _load(role, name)
    assert backend.name == name
    assert backend.device in ("cpu", "cuda")
    assert backend.revision and not set(backend.revision) & set(" @=")
    assert callable(getattr(backend, METHODS[role]))
    assert backend_id(role, backend) == f"{role}={name}@{backend.revision}"
    assert (type(backend).__doc__ or "").strip()


@pytest.mark.parametrize(("role", "name"), ROWS)
def test_results_are_as_the_protocol_says(role: str, name: str) -> None:
    """`call_batch` checks type, shape, range, unit length and equality outside the mask."""
    results = _run(role, _load(role, name))
    assert len(results) == 4
    rejected = [result for result in results if isinstance(result, RowRejected)]
    allowed = {Reason.BAD_INSTRUCTION} if (role, name) in BABBLERS else set()
    assert not [outcome for outcome in rejected if outcome.reason not in allowed]


@pytest.mark.parametrize(("role", "name"), ROWS)
def test_same_input_same_result(role: str, name: str) -> None:
    backend = _load(role, name)
    first, again, other = _run(role, backend), _run(role, backend), _run(role, _load(role, name))
    for one, two, three in zip(first, again, other, strict=True):
        _assert_equal(one, two)
        _assert_equal(one, three)


@pytest.mark.parametrize(("role", "name"), ROWS)
def test_a_batch_gives_what_its_items_give(role: str, name: str) -> None:
    backend = _load(role, name)
    together = _run(role, backend)
    alone = [_run(role, backend, slice(item, item + 1))[0] for item in range(4)]
    backwards = _run(role, backend, slice(None, None, -1))[::-1]
    for one, two, three in zip(together, alone, backwards, strict=True):
        _assert_equal(one, two)
        _assert_equal(one, three)


@pytest.mark.parametrize(("role", "name"), ROWS)
def test_inputs_stay_as_they_were(role: str, name: str) -> None:
    columns, shared, named = _columns(role)
    before = copy.deepcopy((columns, shared, named))
    call_batch(role, _load(role, name), *columns, shared=shared, **named)
    for mine, kept in zip(
        (*columns, *shared.values(), *named.values()),
        (*before[0], *before[1].values(), *before[2].values()),
        strict=True,
    ):
        for one, two in zip(mine, kept, strict=True):
            np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize(("role", "name"), [pair for pair in ROWS if pair[0] in ("inpainter", "replacer")])
def test_an_image_result_is_the_callers_own(role: str, name: str) -> None:
    """Writing to a result must not reach the input, even where nothing was to be done."""
    image = _images()[0]
    kept = image.copy()
    extra = [] if role == "inpainter" else [[image]]
    result = call_batch(role, _load(role, name), [image], [np.zeros(image.shape[:2], bool)], *extra)[0]
    np.testing.assert_array_equal(result, kept)
    result[:] = 0
    np.testing.assert_array_equal(image, kept)


@pytest.mark.parametrize("name", ROLES["index"])
def test_index_finds_what_comparing_all_finds(name: str) -> None:
    random = np.random.default_rng(3)
    vectors = random.normal(size=(300, 24)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors[200] = vectors[100]  # a tie
    queries = np.concatenate([vectors[90:120], vectors[:5] + np.float32(0.1)])
    index = _load("index", name)
    index.add(vectors[:150])
    index.add(vectors[150:])
    scores, ids = index.search(queries, 10)
    assert scores.dtype == np.float32 and ids.dtype == np.int64
    exact = queries.astype(np.float64) @ vectors.T.astype(np.float64)
    expected = np.argsort(-exact.round(6), axis=1, kind="stable")[:, :10]
    np.testing.assert_array_equal(ids, expected)
    np.testing.assert_allclose(scores, np.take_along_axis(exact, expected, 1), atol=1e-6)
    for row in range(len(queries)):
        alone_scores, alone_ids = index.search(queries[row : row + 1], 10)
        np.testing.assert_array_equal(alone_scores[0], scores[row])
        np.testing.assert_array_equal(alone_ids[0], ids[row])
    assert index.search(queries, 1000)[1].shape == (len(queries), 300)


@pytest.mark.parametrize("name", ROLES["index"])
def test_index_refuses_what_it_cannot_hold(name: str) -> None:
    index = _load("index", name)
    with pytest.raises(ValueError, match="call add first"):
        index.search(np.ones((1, 4), np.float32), 1)
    index.add(np.ones((2, 4), np.float32))
    with pytest.raises(ValueError, match="vectors of 4 numbers"):
        index.add(np.ones((2, 5), np.float32))
    with pytest.raises(ValueError, match="finite"):
        index.add(np.full((1, 4), np.nan, np.float32))
    with pytest.raises(ValueError, match="k must be"):
        index.search(np.ones((1, 4), np.float32), 0)


@pytest.mark.parametrize("path", PROFILES, ids=lambda path: path.stem)
def test_shipped_profiles_give_options_that_backends_have(path: Path) -> None:
    """Without loading: the weights that a profile names are a user's."""
    profile = read_profile(path)
    for role, name in profile.backends.items():
        module, _, attribute = ROLES[role][name].partition(":")
        known = inspect.signature(getattr(importlib.import_module(module), attribute)).parameters
        assert set(profile.backend_options.get(role, {})) <= set(known), (role, name)
    assert set(profile.backend_options) <= set(profile.backends)


def test_embedded_backends_import_no_torch() -> None:
    """And describing the real ones does not either."""
    code = (
        "import sys\n"
        "from tasks.backends.registry import describe_backends, load_backend\n"
        "describe_backends()\n"
        f"embedded = [load_backend(role, name) for role, name in {sorted(EMBEDDED)!r}]\n"
        "heavy = {'torch', 'diffusers', 'transformers', 'open_clip', 'prefect'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_importing_the_registry_loads_no_backend_library() -> None:
    code = "import sys, tasks.backends.registry\nassert not {'cv2', 'faiss', 'scipy'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


@pytest.mark.parametrize("value", ["x", 1.5, True, [1], {"a": 1}, 10**30, float("nan")], ids=repr)
@pytest.mark.parametrize(("role", "name"), [(role, name) for role, names in ROLES.items() for name in names])
def test_an_option_of_another_type_is_one_sentence(role: str, name: str, value: Any) -> None:
    module, _, attribute = ROLES[role][name].partition(":")
    backend_class = getattr(importlib.import_module(module), attribute)
    for option, given in inspect.signature(backend_class).parameters.items():
        if isinstance(given.default, type(value)):
            continue  # of the right type; its range is the backend's own business
        try:
            load_backend(role, name, **{option: value})
        except BackendError as error:
            assert "\n" not in str(error)
