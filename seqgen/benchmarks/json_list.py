"""A JSON file that holds one long list of equal arrays, read entry by entry: the vertices of FreiHAND are a text of more than a gigabyte."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from jaxtyping import Float32

from seqgen.errors import UserError

Array = np.ndarray
CHUNK_CHARACTERS = 1 << 20
SPACE = re.compile(r"[ \t\r\n]*")
AFTER_A_VALUE = frozenset(",] \t\r\n")


def read_arrays(path: Path, shape: tuple[int, ...]) -> Float32[Array, "entries ..."]:
    """All entries, each as an array of that shape (an entry of as many numbers in other brackets will do). A UserError names the entry that is wrong."""
    entries = (_as_array(entry, shape, f"{path}: entry {place}") for place, entry in enumerate(entries_of(path)))
    return np.fromiter(entries, np.dtype((np.float32, shape)))


def entries_of(path: Path) -> Iterator[Any]:
    """The entries of the list in a file, one in memory at a time."""
    try:
        with open(path, encoding="utf-8") as file:
            text = _Text(file, str(path))
            text.pass_over("[")
            while text.next_character() != "]":
                yield text.value()
                if text.next_character() != "]":
                    text.pass_over(",")
    except FileNotFoundError:
        raise UserError(f"{path}: is missing; unpack the data set again") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: is no JSON text ({error.reason})") from None


class _Text:
    """A window on a long text, with the place reached in it."""

    def __init__(self, file: TextIO, where: str) -> None:
        self.file, self.where, self.text, self.at = file, where, "", 0
        self.decoder = json.JSONDecoder()

    def next_character(self) -> str:
        """What comes next but for white space."""
        while True:
            self.at = SPACE.match(self.text, self.at).end()
            if self.at < len(self.text):
                return self.text[self.at]
            self.read_on()

    def pass_over(self, character: str) -> None:
        """Beyond a character that must come next."""
        if self.next_character() != character:
            raise UserError(f"{self.where}: is no JSON list of arrays: {self.text[self.at]!r} stands where {character!r} should")
        self.at += 1

    def value(self) -> Any:
        """The value that comes next. It is whole when something follows it that is none of it: a number might go on, 1 to 1e-5."""
        while True:
            self.next_character()
            try:
                value, end = self.decoder.raw_decode(self.text, self.at)
            except json.JSONDecodeError:  # not whole yet, or damaged: the end of the file tells
                end = len(self.text)
            except (ValueError, RecursionError) as error:  # numbers of thousands of digits, lists within lists without end
                raise UserError(f"{self.where}: is no JSON list of arrays: {error}") from None
            if self.text[end : end + 1] in AFTER_A_VALUE:
                self.at = end
                return value
            self.read_on()

    def read_on(self) -> None:
        """As much again as is in the window, so that what is damaged is not looked at over and over."""
        rest = self.text[self.at :]
        more = self.file.read(max(CHUNK_CHARACTERS, len(rest)))
        if not more:
            raise UserError(f"{self.where}: is cut short or damaged; unpack the data set again")
        self.text, self.at = rest + more, 0


def _as_array(entry: Any, shape: tuple[int, ...], where: str) -> Float32[Array, "..."]:
    try:
        array = np.asarray(entry, np.float32)
    except (ValueError, TypeError, OverflowError):
        raise UserError(f"{where} is not an array of numbers") from None
    if array.size != np.prod(shape, dtype=int):
        raise UserError(f"{where} has shape {array.shape}, expected {shape}")
    if not np.isfinite(array).all():
        raise UserError(f"{where} holds a number that is not finite")
    return array.reshape(shape)
