"""A pickle of dictionaries of numpy arrays, read as data: nothing that it names is ever run.

A pickle is a program that may name any function and call it. Here a name is a `_Name`, and calling one gives a `_Call` that keeps what it was called with.
Only the names that arrays are made of are let in, every other is refused; `array_of` then reads the numbers out of what was kept.

The unpickler is Python's slow one on purpose, as in `seqgen.hand.mano_pickle`, which reads the older and richer files of MANO: the memo of the fast one
is an array, and a few bytes can ask for a huge one.
"""

import io
import pickle
import re
from typing import Any

import numpy as np

from seqgen.errors import UserError

Array = np.ndarray
# Module names and the names in them, wherever this or that numpy or Python keeps them.
KNOWN = ((r"numpy(\._?core\.(multiarray|numeric))?", r"ndarray|dtype|_reconstruct|_frombuffer"), (r"_codecs", r"encode"), (r"__builtin__|builtins", r"bytes"))
NUMBERS = re.compile(r"b1|[iu][1248]|f[248]")  # numpy's codes of plain numbers


class _Call:
    """What a name was called with, and the state that the pickle gives the result."""

    __slots__ = ("arguments", "name", "state")

    def __init__(self, name: str, arguments: tuple[Any, ...]) -> None:
        self.name, self.arguments, self.state = name, arguments, ()

    def __setstate__(self, state: object) -> None:
        self.state = state


class _Name:
    """A name in the pickle."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name

    def __call__(self, *arguments: object) -> _Call:
        return _Call(self.name, arguments)


class _Refused(pickle.UnpicklingError):
    """The pickle names something that arrays are not made of."""


class _DataUnpickler(pickle._Unpickler):
    """Python 2's text is read as bytes, one to one."""

    def __init__(self, data: bytes) -> None:
        super().__init__(io.BytesIO(data), encoding="latin1")

    def find_class(self, module: str, name: str) -> _Name:
        if not any(re.fullmatch(modules, module) and re.fullmatch(names, name) for modules, names in KNOWN):
            raise _Refused(f"refused to load {_one_line(f'{module}.{name}')}")
        return _Name(name)

    def get_extension(self, code: int) -> None:
        raise _Refused(f"refused to load the extension {code}")  # Python keeps those it has met without asking `find_class` again


def read_pickle(data: bytes, where: str) -> dict[Any, Any]:
    """The dictionary of a pickle; `array_of` reads the arrays in it. A UserError for anything else."""
    try:
        content = _DataUnpickler(data).load()
    except _Refused as error:
        raise UserError(f"{where}: {error}; these labels are arrays alone, nothing was run") from None
    except Exception as error:  # a pickle is a program: it may fail in any way
        raise UserError(f"{where}: is no pickle, cut short or damaged: {type(error).__name__}: {_one_line(str(error))}; unpack the data set again") from None
    if not isinstance(content, dict):
        raise UserError(f"{where}: holds a {type(content).__name__}, expected a dictionary")
    return content


def _one_line(text: str) -> str:
    """Text that a file chose, made fit for a message."""
    return ascii(text)[1:-1][:100]


def array_of(value: object) -> Array:
    """The array of plain numbers that a value stands for, or a ValueError."""
    match value:
        case _Call(name="_reconstruct", state=(_, shape, dtype, fortran, raw)):
            return _numbers(raw, dtype, shape, "F" if fortran else "C")
        case _Call(name="_frombuffer", arguments=(raw, dtype, shape, order)):
            return _numbers(raw, dtype, shape, "F" if order == "F" else "C")
    raise ValueError("is no array")


def _numbers(raw: object, dtype: object, shape: object, order: str) -> Array:
    if not (isinstance(dtype, _Call) and dtype.name == "dtype" and dtype.arguments and NUMBERS.fullmatch(str(dtype.arguments[0]))):
        raise ValueError("is no array of plain numbers")
    if not (isinstance(shape, tuple) and all(isinstance(length, int) and length >= 0 for length in shape)):
        raise ValueError("is an array without a shape")
    byte_order = dtype.state[1] if isinstance(dtype.state, tuple) and len(dtype.state) > 1 and dtype.state[1] in ("<", ">") else "="
    return np.frombuffer(_bytes(raw), np.dtype(str(dtype.arguments[0])).newbyteorder(byte_order)).reshape(shape, order=order)


def _bytes(raw: object) -> bytes:
    """Bytes in the ways that pickles of several ages write them."""
    match raw:
        case bytes() | bytearray():
            return bytes(raw)
        case str():
            return raw.encode("latin1")
        case _Call(name="encode", arguments=(str() as text, _)):
            return text.encode("latin1")
        case _Call(name="bytes", arguments=()):
            return b""
    raise ValueError("is no array of plain numbers")
