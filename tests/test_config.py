"""Configs: what is refused, in which words, and that nothing is changed in place."""

import copy
import json
from pathlib import Path
from typing import Literal

import pytest
from pydantic import Field, ValidationError, model_validator

from seqgen.config import Section, build, config_digest, field_table, find_config, overlay, read_toml, shipped_configs
from seqgen.errors import UserError


class Wheel(Section):
    spokes: int = Field(32, ge=3)
    """how many"""
    width_mm: float = 28.0
    """of the tyre"""


class Bike(Section):
    colour: Literal["red", "blue"] = "red"
    """of the
    frame"""
    gears: int | None = None
    """none: a fixed one"""
    light: bool = False
    """whether it has one"""
    range_km: tuple[float, float] = (10.0, 80.0)
    """least and most"""
    front: Wheel = Wheel()
    rear: Wheel = Wheel(spokes=36)

    @model_validator(mode="after")
    def _range_rises(self) -> "Bike":
        if self.range_km[0] > self.range_km[1]:
            raise ValueError("range_km must rise")
        return self


def refusal(tables):
    with pytest.raises(UserError) as caught:
        build(Bike, tables, where="bike.toml")
    message = str(caught.value)
    assert message.startswith("bike.toml: ") and "\n" not in message
    return message.removeprefix("bike.toml: ")


def test_defaults_and_values():
    bike = build(Bike, {"gears": 3, "front": {"spokes": 24}}, where="bike.toml")
    assert (bike.gears, bike.front.spokes, bike.rear.spokes, bike.range_km) == (3, 24, 36, (10.0, 80.0))


@pytest.mark.parametrize(
    ("tables", "nearest"),
    [
        ({"color": "red"}, "colour"),
        ({"gear": 3}, "gears"),
        ({"front": {"spoke": 24}}, "front.spokes"),
        ({"rear": {"widthmm": 24}}, "rear.width_mm"),
        ({"width_mm": 24}, "rear.width_mm"),
        ({"fromt": {"spokes": 24}}, "front.spokes"),
        ({"fromt": {}}, "front"),
    ],
)
def test_unknown_keys_are_refused_with_the_nearest_right_one(tables, nearest):
    assert refusal(tables).endswith(f"; did you mean {nearest}?")


def test_unknown_keys_near_nothing_are_just_refused():
    assert refusal({"front": {"qqq": 1}}) == "unknown key front.qqq"


@pytest.mark.parametrize(
    ("tables", "key"),
    [
        ({"gears": "many"}, 'gears = "many"'),
        ({"gears": 2.5}, "gears = 2.5"),
        ({"gears": True}, "gears = true"),
        ({"front": {"width_mm": True}}, "front.width_mm = true"),
        ({"front": {"width_mm": float("nan")}}, "front.width_mm = NaN"),
        ({"front": {"width_mm": float("inf")}}, "front.width_mm = Infinity"),
        ({"range_km": [1.0, float("nan")]}, "range_km.1 = NaN"),
        ({"range_km": [1.0]}, "range_km"),
        ({"range_km": "12"}, 'range_km = "12"'),
        ({"range_km": [2.0, 1.0]}, ""),
        ({"colour": "green"}, 'colour = "green"'),
        ({"colour": True}, "colour = true"),
        ({"light": "perhaps"}, 'light = "perhaps"'),
        ({"front": {"spokes": 2}}, "front.spokes = 2"),
        ({"front": {"spokes": [1, 2]}}, "front.spokes = [1, 2]"),
        ({"front": 3}, "front = 3"),
        ({"colour": "a\nb"}, r'colour = "a\nb"'),
    ],
)
def test_wrong_values_are_refused_in_one_line_that_names_the_key(tables, key):
    assert refusal(tables).startswith(key)


def test_the_first_of_several_mistakes_is_told_and_the_others_counted():
    message = refusal({"gears": "many", "colour": "green", "front": {"spokes": 0}})
    assert message.startswith("colour = ") and message.endswith("(and 2 more)")


@pytest.mark.parametrize(
    ("text", "value"),
    [({"gears": "7"}, 7), ({"light": "true"}, True), ({"light": "false"}, False), ({"range_km": ["5", "6.5"]}, (5.0, 6.5)), ({"gears": None}, None)],
)
def test_text_from_the_command_line_becomes_what_the_field_is(text, value):
    [name] = text
    got = getattr(build(Bike, text, where="command line"), name)
    assert got == value and type(got) is type(value)


def test_configs_are_frozen():
    with pytest.raises(ValidationError):
        Bike().gears = 4
    with pytest.raises(ValidationError):
        Bike().front.spokes = 4


def test_overlay_leaves_its_argument_alone():
    tables = {"gears": 3, "front": {"spokes": 24, "width_mm": 30.0}}
    before = copy.deepcopy(tables)
    assert overlay(tables, "front.spokes", 20) == {"gears": 3, "front": {"spokes": 20, "width_mm": 30.0}}
    assert overlay(tables, "rear.width-mm", 9) == {**before, "rear": {"width_mm": 9}}
    assert overlay(tables, "colour", "blue") == {**before, "colour": "blue"}
    assert tables == before


def test_overlay_refuses_a_field_of_a_value():
    with pytest.raises(UserError, match=r"gears: is a value, not a section, so gears.low cannot be set"):
        overlay({"gears": 3}, "gears.low", 1)


def test_field_table_lists_every_field_in_order_with_its_help():
    assert list(field_table(Bike)) == [
        ("colour", '"red"', "of the frame"),
        ("gears", "null", "none: a fixed one"),
        ("light", "false", "whether it has one"),
        ("range_km", "[10.0, 80.0]", "least and most"),
        ("front.spokes", "32", "how many"),
        ("front.width_mm", "28.0", "of the tyre"),
        ("rear.spokes", "32", "how many"),
        ("rear.width_mm", "28.0", "of the tyre"),
    ]


def test_every_field_of_generate_has_help_and_a_default_that_is_allowed():
    from seqgen.pipeline.config import GenerateConfig

    tables = {}
    for dotted, default, text in field_table(GenerateConfig):
        assert text and "\n" not in text, dotted
        tables = overlay(tables, dotted, json.loads(default))
    assert build(GenerateConfig, tables, where="defaults") == GenerateConfig()


@pytest.mark.parametrize("name", sorted(shipped_configs()))
def test_shipped_configs_are_right(name):
    from seqgen.pipeline.config import GenerateConfig

    build(GenerateConfig, read_toml(find_config(name)), where=name)


def test_a_config_is_found_by_name_or_by_file(tmp_path):
    assert {"quickstart", "paper"} <= set(shipped_configs())
    assert find_config("quickstart").name == "quickstart.toml"
    assert find_config(str(tmp_path / "x.toml")) == tmp_path / "x.toml"
    assert find_config("mine.toml") == Path("mine.toml")
    with pytest.raises(UserError, match=r"quickstrat: no such config; did you mean quickstart\?; shipped: .*paper"):
        find_config("quickstrat")


@pytest.mark.parametrize(
    ("content", "words"),
    [(None, "no such config file"), (b"gears = = 3", "not valid TOML"), (b"gears = 3\ngears = 4", "not valid TOML"), (b'name = "\xff\xfe"', "not valid TOML")],
)
def test_files_that_are_no_toml_are_refused_by_name(tmp_path, content, words):
    path = tmp_path / "bike.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=words) as caught:
        read_toml(path)
    assert str(caught.value).startswith(f"{path}: ") and "\n" not in str(caught.value)


def test_a_folder_and_a_path_through_a_file_are_no_configs(tmp_path):
    with pytest.raises(UserError, match="is a folder"):
        read_toml(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot be read"):
        read_toml(tmp_path / "file" / "x.toml")


def test_the_digest_knows_content_and_not_order():
    assert config_digest({"a": 1, "b": {"c": 2.5, "d": [1]}}) == config_digest({"b": {"d": [1], "c": 2.5}, "a": 1})
    assert config_digest({"a": 1}) != config_digest({"a": 2})
