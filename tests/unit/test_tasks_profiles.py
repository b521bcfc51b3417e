"""Profiles: what a user may write, and the one sentence that each mistake gets."""

from importlib import import_module
from inspect import signature
from pathlib import Path

import pytest

from catalog.errors import ConfigError
from catalog.splits import SplitRule, assign_split, parse_split
from tasks.backends.registry import ROLES, load_backend
from tasks.profiles import read_profile
from tasks.readers.registry import READERS
from tasks.steps import STEPS

PROFILES = sorted((Path(__file__).parents[2] / "infra" / "profiles").glob("*.toml"))
GOOD = 'name = "p"\n[[source]]\ndataset = "a"\nreader = "synthetic"\n'


@pytest.mark.parametrize("path", PROFILES, ids=lambda path: path.stem)
def test_shipped_profiles_name_what_exists(path):
    profile = read_profile(path)
    assert all(source.reader in READERS for source in profile.sources)
    for role, name in profile.backends.items():
        assert name in ROLES[role]
        options = profile.backend_options.get(role, {})
        if not {"device", "weights"} & set(options):  # which not every machine has
            load_backend(role, name, **options)
        else:
            module, _, attribute = ROLES[role][name].partition(":")
            assert set(options) <= set(signature(getattr(import_module(module), attribute)).parameters)
    assert {role for step in STEPS.values() for role in step.roles} <= set(profile.backends)


def test_overrides_win(tmp_path):
    path = tmp_path / "p.toml"
    path.write_text(GOOD)
    overrides = {"backends.inpainter": "opencv", "images_per_shard": 3, "remove_object.dilation": 2}
    profile = read_profile(path, overrides)
    assert (profile.backends["inpainter"], profile.images_per_shard, profile.remove_object.dilation) == ("opencv", 3, 2)


def test_a_source_is_overridden_by_its_dataset(tmp_path):
    path = tmp_path / "p.toml"
    path.write_text(GOOD)
    assert read_profile(path, {"source.a.root": "/x"}).sources[0].root == "/x"
    for name in ("source.b.root", "source.a", "name.x"):
        with pytest.raises(ConfigError, match="override"):
            read_profile(path, {name: "/x"})


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("name = ", "not TOML"),
        ('name = "p"', r"at least one \[\[source\]\]"),
        (GOOD + "[colour]\n", "unknown entries"),
        (GOOD + "[split]\nval = 2.0\n", "shares must lie"),
        (GOOD + "[split]\nvall = 0.1\n", "no entry 'vall'"),
        (GOOD + "[score]\nbatch_size = 0\n", "at least 1"),
        (GOOD + "[score]\nbatch_size = 1.5\n", "must be of type int"),
        (GOOD + "[remove_object]\nenabled = 1\n", "must be of type bool"),
        (GOOD + "[remove_object]\ndilation = nan\n", "finite"),
        (GOOD + "[remove_object]\nmax_area_share = 0.0\n", "below max_area_share"),
        (GOOD + "[replace_object]\nper_photo = 0\n", "at least 1"),
        (GOOD + '[replace_object]\ndonor_label = "other"\n', "one of any, different, same"),
        (GOOD + '[replace_object]\nhole = "circle"\n', "one of box, region"),
        (GOOD + "[replace_object]\nmax_aspect_ratio = 0.5\n", "finite number"),
        (GOOD + "[replace_object]\nmin_area_share = 0.5\nmax_area_share = 0.1\n", "finite number"),
        (GOOD + "[gallery]\nmin_side = 0\n", "at least 1"),
        (GOOD + "[gallery]\nmargin = nan\n", "finite number"),
        (GOOD + "[backends]\ninpainter = 3\n", "must be a backend's name"),
        ("images_per_shard = 0\n" + GOOD, "at least 1"),
        (GOOD + '[[source]]\ndataset = "a"\nreader = "coco"\n', "name of its own"),
        (GOOD + '[[source]]\ndataset = "b"\n', "needs reader"),
    ],
)
def test_each_mistake_has_its_sentence(tmp_path, text, sentence):
    path = tmp_path / "p.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=sentence):
        read_profile(path)


def test_a_missing_profile_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"none\.toml"):
        read_profile(tmp_path / "none.toml")


def test_splits_have_their_shares_and_never_move():
    rule = SplitRule(seed=1, val=0.1, test=0.05)
    found = [assign_split(f"photo {number}", rule) for number in range(20_000)]
    assert found.count("val") / 20_000 == pytest.approx(0.1, abs=0.01)
    assert found.count("test") / 20_000 == pytest.approx(0.05, abs=0.01)
    assert found == [assign_split(f"photo {number}", rule) for number in range(20_000)]


@pytest.mark.parametrize(
    ("name", "split"), [("validation", "val"), ("testA", "test"), ("train", "train"), ("miniv", "val")]
)
def test_datasets_names_of_splits(name, split):
    assert parse_split(name) == split


def test_an_unknown_split_is_refused():
    with pytest.raises(ValueError, match="unknown split"):
        parse_split("everything")
