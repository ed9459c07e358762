"""Skin maps kept between runs. A process needs half a second for one of 256 texels and six for one of 1,024; kept, all processes of a machine map the same memory.

It knows a map as a record of arrays and numbers, and where it is kept; what is in it is `skin_map.py`'s.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np
import scipy

from seqgen.files import arrays_digest, cache_folder, cached_arrays, code_digest
from seqgen.hand.model import HandModel
from seqgen.scene.skin.skin_map import SkinMap, skin_map

Array = np.ndarray
MADE_BY = ("scene", "hand", "camera.py", "componentwise.py", "geometry.py", "skeleton.py")  # code that a map may depend on


def kept_skin_map(model: HandModel, size: int) -> SkinMap:
    """`skin_map(model, size)`, from the cache where it was made before by the same code for the same hand."""
    arrays = [value for value in (getattr(model, field.name) for field in fields(model)) if isinstance(value, Array)]
    made_from = f"{arrays_digest(*arrays)} {code_digest(*MADE_BY)} numpy {np.__version__} scipy {scipy.__version__}"
    folder = cache_folder() / f"skin-{hashlib.sha256(made_from.encode()).hexdigest()[:16]}-{size}"
    return _record(SkinMap, cached_arrays(folder, tuple(_names(SkinMap)), lambda: _arrays(skin_map(model, size))))


def _names(kind: type, prefix: str = "") -> Iterator[str]:
    """Of a record's arrays and numbers; those of a record within it come after its own name and a dot."""
    for field in fields(kind):
        if is_dataclass(field.type):
            yield from _names(field.type, f"{prefix}{field.name}.")
        else:
            yield prefix + field.name


def _arrays(record: Any) -> dict[str, Array]:
    """What `_names` names."""
    values = {}
    for name in _names(type(record)):
        value = record
        for step in name.split("."):
            value = getattr(value, step)
        values[name] = np.asarray(value)
    return values


def _record(kind: type, arrays: dict[str, Array], prefix: str = "") -> Any:
    """The record of this kind that these arrays were taken from."""
    values: dict[str, Any] = {}
    for field in fields(kind):
        if is_dataclass(field.type):
            values[field.name] = _record(field.type, arrays, f"{prefix}{field.name}.")
        else:
            value = arrays[prefix + field.name]
            values[field.name] = field.type(value) if field.type in (int, float) else value
    return kind(**values)
