"""The one schema of `meta.json`: what is said of a clip in scalars. Every sample of every data set has exactly these keys and types.

Why so strict: HF `datasets` infers one schema from the first five samples. A key they lack is dropped from all others, and a column of integers
truncates a later 1.5 to 1. So fractional fields are always floats, and a field that may be null is null in all samples of a data set or in none.
"""

import math
from functools import cache
from types import UnionType
from typing import Any, TypedDict, get_args, get_origin, get_type_hints, is_typeddict


class FlowMeta(TypedDict):
    """The motion. Rows of the source file where it starts and ends (null where the bank's licence or kind gives none); mean joint step; frames/s of the stored clip;
    how often the motion was drawn anew because no hand could do it."""

    kind: str
    start_row: int | None
    end_row: int | None
    mm_per_frame: float
    fps: float
    redraws: int


class CameraMeta(TypedDict):
    """`kind`: perspective or weak_perspective. `model`: the camera whose intrinsics it has. `viewpoint`: the name of the view the clip was sampled for.
    `view`: which of the clip's synchronised cameras, from 0. `frames_outside`: in how many frames a part of the hand is outside the picture."""

    kind: str
    model: str
    viewpoint: str
    view: int
    frames_outside: int


class HandMeta(TypedDict):
    """`kind`: open or mano. `side`: right or left."""

    kind: str
    side: str


class SkinMeta(TypedDict):
    """`name`: "drawn", "flat" or the file of a template. `tone`: the range it falls in. `ita_deg`: individual typology angle, lightest about 60, darkest about -50."""

    name: str
    tone: str
    ita_deg: float


class ArmMeta(TypedDict):
    """`kind`: none, bare or sleeve."""

    kind: str


class LightMeta(TypedDict):
    """`shadows`: whether things keep the key light from others."""

    kind: str
    num_lights: int
    shadows: bool


class BackgroundMeta(TypedDict):
    """`name`: of the picture or pattern. `source`: the collection it is from."""

    name: str
    source: str


class OccluderMeta(TypedDict):
    """`kind`: what is in the way, "none" when nothing is. `manner`: how it moves, "none" then too."""

    kind: str
    manner: str


class SensorMeta(TypedDict):
    """`kind`: of the colour pictures; `depth`: the depth camera of `.depth_sensor.png`. "none" where there is none."""

    kind: str
    depth: str


class LicencesMeta(TypedDict):
    """SPDX identifiers where there is one, else the licence's usual name; "none" where nothing was used."""

    poses: str
    hand: str
    background: str
    skin: str
    occluder: str


class SequenceMeta(TypedDict):
    """`key`: the index as eight digits. `size`: [width, height]. `group`: the index of the first of the clips that show one motion at one time
    from several cameras; null in a data set of one camera a motion."""

    key: str
    index: int
    split: str
    seed: int
    frames: int
    fps: float
    size: list[int]
    flow: FlowMeta
    camera: CameraMeta
    hand: HandMeta
    skin: SkinMeta
    arm: ArmMeta
    light: LightMeta
    background: BackgroundMeta
    occluder: OccluderMeta
    sensor: SensorMeta
    licences: LicencesMeta
    group: int | None


def sequence_key(index: int) -> str:
    """The name of sequence `index` in its shard."""
    return f"{index:08d}"


def build_meta(*, index: int, **fields: Any) -> dict[str, Any]:
    """The meta of sequence `index`: `fields` are those of `SequenceMeta` but `key`; `group` may be left out. Checked."""
    meta = {"key": sequence_key(index), "index": index, "group": None, **fields}
    check_meta(meta)
    return meta


def check_meta(meta: Any) -> None:
    """Raises ValueError unless `meta` has exactly the keys and types of `SequenceMeta`; an int is no float, a numpy scalar is neither."""
    _check(meta, SequenceMeta, "meta")
    if meta["key"] != sequence_key(meta["index"]):
        raise ValueError(f"meta.key is {meta['key']!r}, expected {sequence_key(meta['index'])!r} for index {meta['index']}")
    if len(meta["size"]) != 2 or meta["frames"] < 1:
        raise ValueError(f"meta.size is {meta['size']} and meta.frames {meta['frames']}, expected [width, height] and at least 1")


def null_fields(meta: dict[str, Any], where: str = "meta") -> tuple[str, ...]:
    """The paths of the fields that are null, sorted: the same in all samples of a data set."""
    below = [null_fields(value, f"{where}.{name}") if isinstance(value, dict) else (f"{where}.{name}",) * (value is None) for name, value in sorted(meta.items())]
    return sum(below, ())


@cache
def _schema(record: Any) -> dict[str, Any]:
    """Field -> the record it is, or the types it may have. Kept: to ask a TypedDict for its hints costs more than to write a picture."""
    return {name: hint if is_typeddict(hint) else get_args(hint) if get_origin(hint) is UnionType else (hint,) for name, hint in get_type_hints(record).items()}


def _check(value: Any, record: Any, where: str) -> None:
    """A record has the fields of its schema, no fewer and no more, each of its type; goes down into the records in it."""
    schema = _schema(record)
    if not isinstance(value, dict):
        raise ValueError(f"{where} is {value!r}, expected a record of {', '.join(schema)}")
    if value.keys() != schema.keys():
        missing, extra = [name for name in schema if name not in value], [name for name in value if name not in schema]
        raise ValueError(f"{where} lacks {', '.join(missing) or 'nothing'} and has {', '.join(map(str, extra)) or 'nothing'} that the schema does not know")
    for name, expected in schema.items():
        if isinstance(expected, tuple):
            _check_scalar(value[name], expected, f"{where}.{name}")
        else:
            _check(value[name], expected, f"{where}.{name}")


def _check_scalar(value: Any, allowed: tuple[Any, ...], where: str) -> None:
    """A value of one of the types, or a list of them."""
    kind = type(value)
    if kind is list and get_origin(allowed[0]) is list:
        for number, item in enumerate(value):
            _check_scalar(item, get_args(allowed[0]), f"{where}[{number}]")
    elif kind not in allowed or (kind is float and not math.isfinite(value)):
        raise ValueError(f"{where} is {value!r} ({kind.__name__}), expected {' or '.join('null' if t is type(None) else t.__name__ for t in allowed)}")
