"""Settings that explain themselves: checked, listed, read from texts, and the same after JSON."""

from __future__ import annotations

import json
from dataclasses import dataclass

import pytest

from apps.engine.approaches.base import AugmentSettings, TrainingSettings
from apps.engine.approaches.simclr import SimCLRSettings
from apps.engine.errors import EngineError
from apps.engine.registry import APPROACHES
from apps.engine.settings import Settings, list_settings, read_assignments, setting


@pytest.mark.parametrize("approach", APPROACHES.entries(), ids=APPROACHES.names())
def test_the_settings_of_every_approach_are_documented_and_survive_json(approach) -> None:
    listed = list_settings(approach.settings)
    assert all(one.info.title and one.info.help.endswith((".", "0.1.")) for one in listed)
    assert len({one.name for one in listed}) == len(listed)
    settings = approach.settings()
    assert approach.settings.from_json(json.loads(json.dumps(settings.to_json()))) == settings


def test_changed_settings_survive_json_in_their_groups_too() -> None:
    settings = SimCLRSettings().changed({"temperature": "0.5", "augment.stain": "0", "epochs": "7"})
    assert (settings.temperature, settings.augment.stain, settings.epochs) == (0.5, 0.0, 7)
    assert settings.to_json()["augment"]["stain"] == 0.0
    assert SimCLRSettings.from_json(json.loads(json.dumps(settings.to_json()))) == settings
    assert settings.changed({"epochs": ""}).epochs is settings.changed({"epochs": None}).epochs is None
    assert settings.augment.hue_degrees == AugmentSettings().hue_degrees


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("temperature", "0", "temperature is 0, but has to be a number above 0 and at most 10"),
        ("temperature", "warm", "temperature is 'warm', but has to be a number"),
        ("temperature", "nan", "temperature is nan, but has to be a number"),
        ("epochs", 10**400, "epochs is larger than any number, but has to be a whole number at least 1"),
        ("epochs", "2.5", "epochs is '2.5', but has to be a whole number at least 1"),
        ("epochs", True, "epochs is True, but has to be a whole number"),
        ("projection_dim", 1, "projection_dim is 1, but has to be a whole number at least 2 and at most 8192"),
        ("object_mask", "halo", "object_mask is 'halo', but has to be one of none, object_only, dimmed, channel"),
        ("augment.stain", "-1", "stain is -1, but has to be a number at least 0"),
        ("temprature", "1", "There is no setting temprature; there are backbone, object_mask, "),
        ("augment", "1", "There is no setting augment;"),
    ],
)
def test_a_wrong_value_or_name_is_one_line_that_says_what_may_be(name: str, value: object, sentence: str) -> None:
    with pytest.raises(EngineError) as caught:
        SimCLRSettings().changed({name: value})
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_another_version_knew_is_left_out_but_a_wrong_value_is_not_passed_over() -> None:
    assert SimCLRSettings.from_json({"sorcery": 1, "temperature": 0.3}) == SimCLRSettings(temperature=0.3)
    with pytest.raises(EngineError, match="temperature is 0"):
        SimCLRSettings.from_json({"temperature": 0})
    with pytest.raises(EngineError, match="names with values, and not 5"):
        SimCLRSettings.from_json({"augment": 5})


def test_weights_depend_on_what_shapes_the_network_and_on_nothing_else() -> None:
    plain = SimCLRSettings()
    assert plain.changed({"temperature": 1, "augment.stain": 0.5, "epochs": 3}).network_shape() == plain.network_shape()
    for name, value in (("projection_dim", 8), ("object_mask", "channel"), ("backbone", "resnet34")):
        assert plain.changed({name: value}).network_shape() != plain.network_shape()


def test_assignments_are_name_and_value() -> None:
    assert read_assignments(["temperature=0.2", " note = a=b"]) == {"temperature": "0.2", "note": "a=b"}
    for wrong in ("temperature", "=3"):
        with pytest.raises(EngineError, match="NAME=VALUE"):
            read_assignments([wrong])


def test_true_and_false_are_read_as_people_write_them() -> None:
    @dataclass(frozen=True)
    class Switch(Settings):
        on: bool = setting(False, title="On", help="Whether it is on.")

    assert [Switch().changed({"on": text}).on for text in ("true", "Yes", "1", "FALSE", "no", "0")] == [True] * 3 + [
        False
    ] * 3
    with pytest.raises(EngineError, match="on is 'maybe', but has to be true or false"):
        Switch().changed({"on": "maybe"})
    with pytest.raises(EngineError, match="on is 1"):
        Switch(on=1)  # type: ignore[arg-type]


def test_settings_are_documented_fields_or_nothing() -> None:
    @dataclass(frozen=True)
    class Undocumented(TrainingSettings):
        mystery: int = 3

    with pytest.raises(TypeError, match="mystery is not made with setting"):
        Undocumented()
