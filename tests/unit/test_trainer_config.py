"""Configurations: the paper's numbers, overrides from the command line, and each rule's sentence."""

import dataclasses

import pytest

from catalog.errors import ConfigError
from catalog.render_styles import RenderStyle
from trainer.config import TrainingConfig, changed_fields
from trainer.overrides import field_descriptions, flat_values, override
from trainer.recipes import RECIPES, make_config


def test_paper_recipe_has_the_papers_numbers() -> None:
    config = make_config("paper")
    assert (config.image_size, config.learning_rate, config.global_batch_size) == (256, 1e-4, 3072)
    assert (config.ema_decay, config.adam_beta1, config.adam_beta2, config.weight_decay) == (0.9999, 0.9, 0.999, 0.01)
    assert (config.max_grad_norm, config.conditioning_dropout) == (0.0, "paper")


@pytest.mark.parametrize("name", RECIPES)
def test_recipes_are_named_after_themselves(name: str) -> None:
    assert make_config(name).recipe == name


def test_every_field_is_described() -> None:
    descriptions = field_descriptions(TrainingConfig)
    assert list(descriptions) == list(flat_values(make_config("demo").to_json()))
    assert {f"render.{field.name}" for field in dataclasses.fields(RenderStyle)} < descriptions.keys()
    assert all(text and "\n" not in text for text in descriptions.values())


def test_overrides_take_the_type_of_their_field() -> None:
    config = make_config("demo").with_overrides(
        ["num_steps=7", "learning_rate=3e-5", "deterministic=false", "model=/a/b", "precision=bfloat16"]
    )
    assert (config.num_steps, config.learning_rate, config.deterministic) == (7, 3e-5, False)
    assert (config.model, config.precision) == ("/a/b", "bfloat16")
    assert make_config("demo").num_steps != 7


def test_how_samples_are_drawn_is_set_by_dotted_names_and_saved() -> None:
    config = make_config("demo").with_overrides(["render.crop=square", "render.alpha=0.75", "render.referent=official"])
    assert config.render == RenderStyle(crop="square", alpha=0.75, referent="official")
    assert config.to_json()["render"]["crop"] == "square"
    assert changed_fields(make_config("demo").to_json(), config.to_json()) == [
        "render.alpha: 0.5 -> 0.75",
        "render.crop: official -> square",
        "render.referent: corrected -> official",
    ]
    assert override(RenderStyle(), ["render.crop=paper"], prefix="render.") == RenderStyle(crop="paper")


@pytest.mark.parametrize(
    ("assignment", "sentence"),
    [
        ("num_steps", "field=value"),
        ("num_step=3", "did you mean 'num_steps'"),
        ("num_steps=1.5", "whole number"),
        ("learning_rate=fast", "a number"),
        ("deterministic=1", "true or false"),
        ("image_size=250", "multiple of 8 from 32 on, got 250: use 248"),
        ("image_size=24", "use 32"),
        ("model=", "hub id"),
        ("learning_rate=0", "positive"),
        ("learning_rate=nan", "positive"),
        ("adam_beta1=1", "adam_beta1"),
        ("adam_beta2=-0.1", "adam_beta2"),
        ("adam_epsilon=0", "adam_epsilon"),
        ("weight_decay=-1", "weight_decay"),
        ("max_grad_norm=inf", "max_grad_norm"),
        ("ema_decay=1", "ema_decay"),
        ("seed=-1", "seed"),
        ("plain_share=1.5", "plain_share"),
        ("tokenizer=", "tokenizer"),
        ("stage=alignment", "one of pretraining_adaptation, task_training, human_alignment"),
        ("num_workers=-1", "num_workers"),
        ("num_steps=0", "num_steps must be 1 or more, got 0"),
        ("global_batch_size=0", "global_batch_size"),
        ("micro_batch_size=-1", "micro_batch_size"),
        ("keep_every=-1", "keep_every"),
        ("pictures_every=-1", "pictures_every"),
        ("num_pictures=0", "num_pictures"),
        ("spike_factor=1", "0 or over 1"),
        ("peak_tflops=-1", "peak_tflops"),
        ("rank_timeout=0", "rank_timeout"),
        ("on_bad_step=ignore", "stop, skip"),
        ("parallel=tensor", "ddp, fsdp"),
        ("compile=yes", "off, default"),
        ("num_threads=0", "num_threads"),
        ("checkpoint_every=0", "checkpoint_every"),
        ("keep_last=0", "keep_last"),
        ("log_every=0", "log_every"),
        ("conditioning_dropout=half", "one of paper, official, got 'half'"),
        ("precision=float16", "float32, bfloat16"),
        ("device=tpu", "auto, cpu, cuda"),
        ("on_bad_row=ignore", "stop, skip"),
        ("render=square", "did you mean 'render.c"),
        ("render.crop=round", "crop must be one of official, paper, square. Got 'round'"),
        ("render.crops=square", "did you mean 'render.crop'"),
        ("render.max_keypoints=99", "max_keypoints must be 1 to"),
        ("render.alpha=nan", "alpha must be in"),
        ("render.radius=inf", "radius must be in"),
        ("render.person_scale=inf", "person_scale must be in"),
        ("render.colors=none", "colors must be one of"),
        ("render.referent=kept", "referent must be one of corrected, official"),
        ("render.size=64", "must name a field"),
        ("num_steps", "write --set num_steps=VALUE"),
    ],
)
def test_a_wrong_override_is_one_sentence(assignment: str, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence) as caught:
        make_config("demo").with_overrides([assignment])
    assert "\n" not in str(caught.value)


def test_unknown_recipe() -> None:
    with pytest.raises(ConfigError, match="demo, miniature, pretraining_adaptation"):
        make_config("demo2")


def test_only_fields_that_decide_what_is_learned_count_as_changes() -> None:
    saved = make_config("demo").to_json()
    longer = make_config("demo").with_overrides(["num_steps=999", "num_workers=3", "keep_last=9"]).to_json()
    other = make_config("demo").with_overrides(["seed=1", "learning_rate=0.5"]).to_json()
    assert changed_fields(saved, longer) == []
    assert changed_fields(saved, other) == ["learning_rate: 0.001 -> 0.5", "seed: 0 -> 1"]


def test_a_run_of_an_older_version_goes_on_with_the_fields_that_are_new_since() -> None:
    saved = {name: value for name, value in make_config("demo").to_json().items() if name not in ("stage", "tokenizer")}
    assert changed_fields(saved, make_config("demo").to_json()) == []
    assert changed_fields(saved, make_config("pretraining_adaptation").to_json())[-1].startswith("stage: task_training")


def test_configuration_is_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        make_config("demo").seed = 1  # type: ignore[misc]
