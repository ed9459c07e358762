"""The one schema of `meta.json`: what is said of a clip in scalars. Every sample of every data set has exactly these keys and types.

Why so strict: HF `datasets` infers one schema from the first five samples. A key they lack is dropped from all others, and a column of integers
truncates a later 1.5 to 1. So fractional fields are always floats, and a field that may be null is null in all samples of a data set or in none.
"""

import math
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
    """`kind`: perspective or weak_perspective. `viewpoint`: the name of the view the clip was sampled for."""

    kind: str
    viewpoint: str


class HandMeta(TypedDict):
    """`kind`: open or mano. `side`: right or left."""

    kind: str
    side: str


class SkinMeta(TypedDict):
    """`tone`: the skin's name. `ita_deg`: individual typology angle, lightest about 60, darkest about -50."""

    tone: str
    ita_deg: float


class LightMeta(TypedDict):
    kind: str
    num_lights: int


class BackgroundMeta(TypedDict):
    """`name`: of the picture or pattern. `source`: the collection it is from."""

    name: str
    source: str


class SensorMeta(TypedDict):
    kind: str


class LicencesMeta(TypedDict):
    """SPDX identifiers where there is one, else the licence's usual name; "none" where nothing was used."""

    poses: str
    hand: str
    background: str


class SequenceMeta(TypedDict):
    """`key`: the index as eight digits. `size`: [width, height]. `group`: clips that show the same motion share it; null for now."""

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
    light: LightMeta
    background: BackgroundMeta
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


def _check(value: Any, hint: Any, where: str) -> None:
    """One value against its type, going down into records."""
    if is_typeddict(hint):
        _check_keys(value, hint, where)
        for name, inner in get_type_hints(hint).items():
            _check(value[name], inner, f"{where}.{name}")
    elif get_origin(hint) is list:
        _check(value, list, where)
        for number, item in enumerate(value):
            _check(item, get_args(hint)[0], f"{where}[{number}]")
    else:
        allowed = get_args(hint) if get_origin(hint) is UnionType else (hint,)
        if type(value) not in allowed or (isinstance(value, float) and not math.isfinite(value)):
            raise ValueError(f"{where} is {value!r} ({type(value).__name__}), expected {' or '.join('null' if t is type(None) else t.__name__ for t in allowed)}")


def _check_keys(value: Any, schema: Any, where: str) -> None:
    """A record has the keys of its schema, no fewer and no more."""
    if not isinstance(value, dict):
        raise ValueError(f"{where} is {value!r}, expected a record of {', '.join(get_type_hints(schema))}")
    missing, extra = [name for name in get_type_hints(schema) if name not in value], [name for name in value if name not in get_type_hints(schema)]
    if missing or extra:
        raise ValueError(f"{where} lacks {', '.join(missing) or 'nothing'} and has {', '.join(map(str, extra)) or 'nothing'} that the schema does not know")
