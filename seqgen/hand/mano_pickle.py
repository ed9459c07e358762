"""Reads the pickle of a MANO file as data: nothing that it names is ever run.

A pickle is a program that may name any function and call it. The official files name numpy, scipy.sparse and chumpy objects, which no longer
import or are not wanted. Here each of the few names that belong there becomes a `Named`: an object that keeps what the pickle would call it with
and the state it would set, and does nothing. Every other name is refused. `array_of` then reads arrays out of what was kept.

The unpickler is Python's slow one on purpose: the memo of the fast one is an array, and a file of ten bytes can ask for one of 64 GB.
"""

import io
import math
import pickle
import re
from typing import Any

import numpy as np

from seqgen.errors import UserError

Array = np.ndarray
# Module names and the names in them; wherever this or that numpy, scipy or Python keeps them.
KNOWN = (
    (r"numpy(\._?core\.(multiarray|numeric))?", r"ndarray|dtype|_reconstruct|scalar|_frombuffer"),
    (r"scipy\.sparse(\._?(csc|csr))?", r"(csc|csr)_(matrix|array)"),
    (r"chumpy(\.\w+)*", r"[A-Za-z]\w*"),
    (r"copy_?reg", r"_reconstructor"),
    (r"__builtin__|builtins", r"object|set|bytes|bytearray"),
    (r"_codecs", r"encode"),
)
NUMBERS = re.compile(r"b1|[iu][1248]|f[248]")  # numpy's codes of plain numbers
MAX_NUMBERS = 10**7  # in one array; MANO's largest has 315,090
MAX_DEPTH = 8  # of chumpy objects within each other


class _Sealed(type):
    """Classes whose attributes stay as they are: a pickle may set attributes of what it names."""

    def __setattr__(cls, name: str, value: object) -> None:
        raise pickle.UnpicklingError(f"refused to change {cls.__name__}")

    __delattr__ = __setattr__  # type: ignore[assignment]


class Named(metaclass=_Sealed):
    """Something the pickle names, with the arguments and the state that it gives."""

    __slots__ = ("arguments", "state")
    module = name = ""

    def __new__(cls, *arguments: object) -> "Named":
        kept = super().__new__(cls)
        kept.arguments, kept.state = arguments, None
        return kept

    def __setstate__(self, state: object) -> None:
        self.state = state


class _Refused(pickle.UnpicklingError):
    """The pickle names something that does not belong into a MANO file."""


class _DataUnpickler(pickle._Unpickler):
    """Makes `Named` things of the known names and refuses all others. Python 2's text is read as bytes, one to one."""

    def __init__(self, data: bytes) -> None:
        super().__init__(io.BytesIO(data), encoding="latin1")
        self.named: dict[tuple[str, str], type[Named]] = {}

    def find_class(self, module: str, name: str) -> type[Named]:
        if not any(re.fullmatch(modules, module) and re.fullmatch(names, name) for modules, names in KNOWN):
            raise _Refused(f"refused to load {_one_line(f'{module}.{name}')}")
        if (module, name) not in self.named:
            body = {"__slots__": (), "module": module.partition(".")[0], "name": name}
            self.named[module, name] = _Sealed(name, (Named,), body)
        return self.named[module, name]

    def get_extension(self, code: int) -> None:
        raise _Refused(f"refused to load the extension {code}")  # Python keeps those it has met without asking `find_class` again


def read_pickle(data: bytes, where: str) -> dict[str, Any]:
    """The dictionary of a pickle, with `Named` things in it. A UserError for anything else."""
    try:
        content = _DataUnpickler(data).load()
    except _Refused as error:
        raise UserError(f"{where}: {error}; files of MANO hold arrays alone, nothing was run") from None
    except Exception as error:  # a pickle is a program: it may fail in any way
        if data[:1] == b"\x80" or data[:2] in (b"(d", b"}q", b"}("):
            raise UserError(f"{where}: cut short or damaged: {type(error).__name__}: {_one_line(str(error))}") from None
        raise UserError(f"{where}: is no pickle, it begins with {repr(data[:20])[1:]}") from None
    if not isinstance(content, dict):
        raise UserError(f"{where}: not a MANO file, it holds a {type(content).__name__} where a dictionary of arrays was expected")
    return {key: value for key, value in content.items() if isinstance(key, str)}


def _one_line(text: str) -> str:
    """Text that a file chose, made fit for a message."""
    return ascii(text)[1:-1][:100]


def array_of(value: object, depth: int = 0) -> Array:
    """The array of plain numbers that a value of the dictionary stands for, or a ValueError."""
    if depth > MAX_DEPTH:
        raise ValueError("objects within objects without end")
    if isinstance(value, float) or (isinstance(value, int) and abs(value) < 2**63):
        return np.asarray(value)
    match (_name(value), value):
        case ("_reconstruct", Named(state=(_, shape, dtype, fortran, raw) | (shape, dtype, fortran, raw))):
            return _numbers(raw, dtype, shape, "F" if fortran else "C")
        case ("_frombuffer", Named(arguments=(raw, dtype, shape, order))):
            return _numbers(raw, dtype, shape, order)
        case ("scalar", Named(arguments=(dtype, raw))):
            return _numbers(raw, dtype, (), "C")
        case ("csc_matrix" | "csr_matrix" | "csc_array" | "csr_array" as name, Named(state=dict() as state)):
            return _dense(state, by_columns=name.startswith("csc"), depth=depth)
        case ("Ch", Named(state={"x": inner})):
            return array_of(inner, depth + 1)
        case ("Select", Named(state={"a": inner, "idxs": chosen, **rest})):  # some numbers of another array, in another shape
            numbers = array_of(inner, depth + 1).ravel()[array_of(chosen, depth + 1)]
            return numbers.reshape(_shape(rest["preferred_shape"])) if "preferred_shape" in rest else numbers
        case ("Reshape", Named(state={"a": inner, "newshape": shape})):
            return array_of(inner, depth + 1).reshape(_shape(shape))
    raise ValueError(f"{_name(value) or type(value).__name__} is no array of numbers")


def _name(value: object) -> str:
    """What a value was made by, or of which kind for Python 2's way to make objects."""
    if not isinstance(value, Named):
        return ""
    kind = value.arguments[0] if value.name == "_reconstructor" and value.arguments else type(value)
    return kind.name if isinstance(kind, _Sealed) else ""


def _numbers(raw: object, dtype: object, shape: object, order: object) -> Array:
    if not (isinstance(dtype, Named) and dtype.name == "dtype" and dtype.arguments and NUMBERS.fullmatch(str(dtype.arguments[0]))):
        raise ValueError("an array of it holds no plain numbers")
    byte_order = dtype.state[1] if isinstance(dtype.state, tuple) and len(dtype.state) > 1 and dtype.state[1] in ("<", ">") else "="
    numbers = np.frombuffer(_bytes(raw), np.dtype(str(dtype.arguments[0])).newbyteorder(byte_order))
    return numbers.reshape(_shape(shape), order="F" if order == "F" else "C")


def _shape(value: object) -> tuple[int, ...]:
    if isinstance(value, int):
        return (value,)
    if isinstance(value, (tuple, list)) and all(isinstance(length, int) and length >= -1 for length in value):
        return tuple(value)
    raise ValueError("an array of it has no shape")


def _bytes(raw: object) -> bytes:
    """Bytes in the ways that pickles of several ages write them."""
    match (_name(raw), raw):
        case (_, bytes() | bytearray()):
            return bytes(raw)
        case (_, str()):
            return raw.encode("latin1")
        case ("encode", Named(arguments=(str() as text, _))):
            return text.encode("latin1")
        case ("bytes" | "bytearray", Named(arguments=())):
            return b""
    raise ValueError("an array of it holds no plain numbers")


def _dense(state: dict[str, Any], *, by_columns: bool, depth: int) -> Array:
    """The dense matrix of a compressed one."""
    shape = _shape(state.get("_shape", state.get("shape")))
    if len(shape) != 2 or not 0 <= math.prod(shape) <= MAX_NUMBERS:
        raise ValueError(f"a sparse matrix of it has the shape {shape}")
    indptr, indices, data = (array_of(state.get(key), depth + 1) for key in ("indptr", "indices", "data"))
    counts = np.diff(indptr)
    if not (indptr.ndim == 1 and (counts >= 0).all() and counts.sum() == len(indices) == len(data)):
        raise ValueError("a sparse matrix of it is damaged")
    lines = np.repeat(np.arange(len(counts)), counts)
    dense = np.zeros(shape)
    np.add.at(dense, (indices, lines) if by_columns else (lines, indices), data)
    return dense
