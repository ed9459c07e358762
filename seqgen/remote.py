"""Files in a store that is no folder of this machine: `s3://bucket/clips`, `gs://...`, whatever fsspec has a driver for.

A `RemotePath` has the methods of a `pathlib.Path` that this house uses, under their names, so that a data set lies in either (`seqgen.places`). What is other than there:

    files      written whole, by one put, of large ones piece by piece: seen complete or not at all. None is opened to be written to
    folders    are the names' own: nothing to be made
    locks      there are none, and links neither
    errors     FileNotFoundError as for paths; all else that a store answers is a `StoreError`

fsspec and its drivers are loaded when a store is first asked. Keys come from where each driver looks for them; no message or file of ours shows one.
Knows nothing of data sets.
"""

import errno
import io
import os
import re
import secrets
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, BinaryIO

from seqgen.errors import UserError
from seqgen.store_errors import MOST_WORDS, StoreError, answering
from seqgen.store_pages import PAGERS, FileFacts, facts_of, folder_pages

# Those where a put is one step, and where a file may be made on condition that there is none. Elsewhere files are put aside and renamed.
OBJECT_STORES = ("s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "oss", "oci")
EXTRAS = {"s3": "s3", "s3a": "s3", "gs": "gcs", "gcs": "gcs"}  # of pyproject.toml
READ_AHEAD = 2**23  # bytes
LIKE_NAMES = re.compile(r"\D*\d*?(?=\d{0,3}(?!\d))")  # what a thousand numbered names have in common: up to the last three digits of their first number
ONE_PIECE_AT_A_TIME = {"s3": {"max_concurrency": 1}, "s3a": {"max_concurrency": 1}}  # of a large file; s3fs would hold ten of 50 MB


@dataclass(frozen=True, order=True, repr=False)
class RemotePath:
    """A file or folder in a store. `base`: `protocol://bucket`, with user and password where the URL has them; `parts`: the names under it."""

    base: str
    parts: tuple[str, ...] = ()

    def __str__(self) -> str:
        return "/".join((re.sub(r"://.*@", "://***@", self.base), *self.parts))

    def __repr__(self) -> str:
        return f"RemotePath({str(self)!r})"

    def __truediv__(self, name: str) -> "RemotePath":
        parts = list(self.parts)
        for part in filter(None, name.split("/")):
            parts = parts[:-1] if part == ".." else [*parts, part]
        return RemotePath(self.base, tuple(parts))

    @property
    def protocol(self) -> str:
        return self.base.partition(":")[0]

    @property
    def puts_are_atomic(self) -> bool:
        """Whether nothing half is ever seen there, not even under another name."""
        return self.protocol in OBJECT_STORES

    @property
    def name(self) -> str:
        return self.parts[-1] if self.parts else self.base.rpartition("/")[2].rpartition("@")[2]

    @property
    def parent(self) -> "RemotePath":
        return RemotePath(self.base, self.parts[:-1])

    def with_name(self, name: str) -> "RemotePath":
        return self.parent / name

    def match(self, pattern: str) -> bool:
        return fnmatch(self.name, pattern)

    def resolve(self) -> "RemotePath":
        return self

    def driver(self) -> tuple[Any, str]:
        """The driver, of which fsspec keeps one for each process and thread, and what it calls this path. A UserError where none is installed or known,
        a StoreError where it does not start."""
        try:
            from fsspec import get_filesystem_class
            from fsspec.core import url_to_fs

            get_filesystem_class(self.protocol)
        except ImportError as error:
            raise UserError(f"{self}: needs a driver that is not installed; {_remedy(self.protocol, error)}") from None
        except ValueError:
            raise UserError(f"{self}: no store is known by {self.protocol}://; s3:// and gs:// are, and others that fsspec has drivers for") from None
        uncached = {"use_listings_cache": False} if self.puts_are_atomic else {}  # others write there too
        with self._answering():  # some connect at once, some are no store but a view of a file
            return url_to_fs("/".join((self.base, *self.parts)), **uncached)

    def exists(self) -> bool:
        return self._kind() is not None

    def is_file(self) -> bool:
        return self._kind() == "file"

    def is_dir(self) -> bool:
        return self._kind() == "directory"

    def stat(self) -> FileFacts:
        return facts_of(self._ask("info"))

    def iterdir(self) -> Iterator["RemotePath"]:
        return (self / name for name in self.names())

    def glob(self, pattern: str) -> Iterator["RemotePath"]:
        """Those right in this folder, none where there is no such folder."""
        with suppress(FileNotFoundError):
            yield from (path for path in self.iterdir() if path.match(pattern))

    def names(self) -> Iterator[str]:
        """Of all that lies right in this folder, in one question for every thousand. A thousand of them are in memory at a time, where a driver tells them by pages."""
        with self._answering():
            store, folder = self.driver()
            if self.protocol in PAGERS:
                for page in folder_pages(PAGERS[self.protocol], store, folder):
                    yield from page
            else:
                paths = sorted(path.strip("/") for path in store.ls(folder, detail=False))
                yield from (path.rpartition("/")[2] for path in paths if path != folder.strip("/"))  # some stores keep an entry for the folder itself

    def facts(self, names: Sequence[str]) -> list[FileFacts | None]:
        """Those of files right in this folder, None of what is none; one question for all whose numbers are of the same thousand, as nearly all of a batch in order are.
        Up to 10^6 of them no answer is longer than that thousand: `train-000999` and `train-001000`, asked about at once, would bring nearly all that there is."""
        alike: dict[str, list[str]] = {}
        for name in names:
            alike.setdefault(_stem(name), []).append(name)
        entries: dict[str, Any] = {}
        for some in alike.values():
            found = self._found(os.path.commonprefix(some))  # noqa: RUF071  (letters are what is meant)
            entries |= {name: found[name] for name in some if name in found}
        return [facts_of(entries[name]) if name in entries else None for name in names]

    def contents(self, names: Sequence[str]) -> list[bytes | None]:
        """Those of files right in this folder, None of those that are not there; all are asked for at once."""
        if not names:
            return []
        with self._answering():
            store, folder = self.driver()
            told = store.cat([f"{folder}/{name}" for name in names], on_error="return")
        answers = [told[f"{folder}/{name}"] for name in names]
        for name, error in zip(names, answers, strict=True):
            if isinstance(error, Exception) and not isinstance(error, FileNotFoundError | IsADirectoryError):
                with (self / name)._answering():
                    raise error
        return [answer if isinstance(answer, bytes) else None for answer in answers]

    def read_bytes(self) -> bytes:
        return self._ask("cat_file")

    def read_text(self, encoding: str = "utf-8") -> str:
        return self.read_bytes().decode(encoding)

    def read_range(self, begin: int, end: int) -> bytes:
        """The bytes from one place up to another."""
        return self._ask("cat_file", start=begin, end=end) if end > begin else b""

    def open(self, mode: str = "rb") -> BinaryIO:
        """To be read in pieces."""
        if mode != "rb":
            raise ValueError(f"{mode}: files of a store are put there whole")
        return io.BufferedReader(_Pieces(self), READ_AHEAD)

    def put(self, file: Path) -> None:
        """The content of a local file, in place of what is there: seen whole or not at all."""
        aside = self if self.puts_are_atomic else self.with_name(f".{self.name}.partial-{os.getpid()}-{secrets.token_hex(4)}")
        with self._answering():
            store, path = self.driver()
            if aside is not self:
                store.makedirs(path.rpartition("/")[0], exist_ok=True)
        with self._answering(missing_is_wrong=True):
            store.put_file(str(file), aside.driver()[1], **ONE_PIECE_AT_A_TIME.get(self.protocol, {}))
            if aside is not self:
                store.mv(aside.driver()[1], path)
        if self.stat().st_size != file.stat().st_size:
            raise StoreError(errno.EIO, "was not stored in full", str(self))

    def create(self, file: Path) -> bool:
        """The content of a local file, unless there is something already. Of several that try at once one gets True, in object stores that know conditions; elsewhere
        at least one."""
        if self.exists():
            return False
        if not self.puts_are_atomic:
            self.put(file)
            return True
        try:
            self._ask("pipe_file", file.read_bytes(), mode="create")
        except FileExistsError:
            return False
        except StoreError:
            if self.exists():  # by another's hand: a condition that is not met has many names
                return False
            raise
        return True

    def unlink(self, missing_ok: bool = False) -> None:
        try:
            self._ask("rm_file")
        except FileNotFoundError:
            if not missing_ok:
                raise

    def remove_tree(self) -> None:
        """Removes all files under this folder, if there are any. Entries that some tools make for a folder, without content, may stay."""
        with suppress(FileNotFoundError), self._answering():
            store, folder = self.driver()
            if self.protocol in PAGERS:
                for page in filter(None, folder_pages(PAGERS[self.protocol], store, folder, deep=True)):
                    with suppress(FileNotFoundError):  # of another run's hand
                        store.rm([f"{folder}/{name}" for name in page])
            else:
                store.rm(folder, recursive=True)

    def mkdir(self, parents: bool = True, exist_ok: bool = True) -> None:
        """Nothing: files make their folders."""

    def _found(self, beginning: str) -> dict[str, Any]:
        """What is told of the files under this folder whose names begin so."""
        with self._answering():
            store, folder = self.driver()
            try:
                found = store.find(folder, prefix=beginning, detail=True)
            except FileNotFoundError:
                return {}
        return {path.removeprefix(folder).strip("/"): entry for path, entry in found.items()}

    def _kind(self) -> str | None:
        try:
            return self._ask("info")["type"]
        except FileNotFoundError:
            return None

    def _answering(self, *, missing_is_wrong: bool = False) -> AbstractContextManager[None]:
        return answering(str(self), self.base, missing_is_wrong=missing_is_wrong)

    def _ask(self, method: str, *arguments: Any, **options: Any) -> Any:
        with self._answering():
            store, path = self.driver()
            return getattr(store, method)(path, *arguments, **options)


def _remedy(protocol: str, error: ImportError) -> str:
    """What to install for a protocol."""
    return f"pip install 'seqgen[{EXTRAS[protocol]}]'" if protocol in EXTRAS else " ".join(str(error).split())[:MOST_WORDS]


def _stem(name: str) -> str:
    """The beginning that a name shares with those of the same thousand."""
    return LIKE_NAMES.match(name)[0]


class _Pieces(io.RawIOBase):
    """A file of a store, asked for piece by piece."""

    mode = "rb"

    def __init__(self, path: RemotePath) -> None:
        self._path, self._size, self._at, self.name = path, path.stat().st_size, 0, str(path)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: Any) -> int:
        data = self._path.read_range(self._at, min(self._size, self._at + len(buffer)))
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)
