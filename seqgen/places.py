"""Where a data set lies: a folder of this machine, or a URL of a store. URLs are read here, stores tried before any work begins, and many files asked about at once."""

import errno
import os
import re
import secrets
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from seqgen.errors import UserError
from seqgen.remote import OBJECT_STORES, RemotePath
from seqgen.store_errors import StoreError
from seqgen.store_pages import FileFacts

LOCAL = ("file", "local")
URL = re.compile(r"([A-Za-z][A-Za-z0-9+._-]+)://(.*)", re.DOTALL)
ALMOST_URL = re.compile(rf"({'|'.join((*OBJECT_STORES, *LOCAL, 'memory', 'https?', 'ftp', 'sftp'))}):/(?!/)|://|\w+::.*://")
NOT_IN_KEYS = re.compile(r"[*?\[\]#\\\0-\x1f\x7f]|::")  # patterns and chains to fsspec

Place = Path | RemotePath  # what a data set's functions take


def place_of(text: str | Place) -> Place:
    """A URL as a place in a store, anything else (and file:///...) as a local path. A UserError for a URL that is none."""
    if not isinstance(text, str):
        return text
    url = URL.fullmatch(text)
    if url is None:
        if ALMOST_URL.match(text):
            raise UserError(f"{_masked(text)}: no URL, which has a name, a colon and two slashes, as s3://bucket/folder; a local folder of that name is ./{_masked(text)}")
        return Path(text)
    protocol, (netloc, _, names) = url[1].lower(), url[2].partition("/")
    if protocol in LOCAL:
        if netloc:
            raise UserError(f"{text}: a local URL has three slashes, as file:///data/clips; or give the path alone")
        return Path("/" + names)
    fault = _fault(protocol, netloc, names)
    if fault:
        raise UserError(f"{_masked(text)}: {fault}")
    return RemotePath(f"{protocol}://{netloc}") / names


def check_store(place: Place) -> None:
    """`try_store`, with a UserError for whatever it finds wrong."""
    try:
        try_store(place)
    except StoreError as error:
        raise UserError(f"{place}: no place for a data set ({error.strerror}); {_remedy(error)}") from None


def try_store(place: Place) -> None:
    """Tries, with one small file that is removed again, whether files can be put at a place of a store, listed, read and removed. A UserError says what the user can
    mend; a StoreError (EIO) what may pass."""
    if isinstance(place, Path):
        return
    try:
        place.driver()
        with TemporaryDirectory() as folder:
            file = Path(folder) / "probe"
            file.write_bytes(b"seqgen tries whether it can write here\n")
            seen = _is_found_again(file, place)
    except StoreError as error:
        if error.errno == errno.EIO:
            raise
        raise UserError(f"{place}: no place for a data set ({error.strerror}); {_remedy(error)}") from None
    except OSError as error:
        raise UserError(f"{place}: files are written to the folder for temporary ones first, which takes none ({error.strerror}); free some space, or set TMPDIR") from None
    if not seen:
        raise UserError(f"{place}: no place for a data set (a file put there was not found again); choose another --out")


def _is_found_again(file: Path, place: RemotePath) -> bool:
    """Whether a file that is put at a place of a store is there then, as it is. It is removed again."""
    probe = place / ".progress" / f".probe.partial-{os.getpid()}-{secrets.token_hex(4)}"  # named as half a file, which every other run overlooks
    try:
        probe.put(file)
        seen = probe.parent.facts([probe.name]) != [None] and probe.read_bytes() == file.read_bytes()
        probe.unlink()
    except FileNotFoundError as error:  # the bucket, or what a store forgets at once
        raise StoreError(errno.ENOENT, error.strerror, str(place)) from None
    return seen


def names_in(folder: Place) -> Iterator[str]:
    """The names of all that lies in a folder, as they come: of a million none is held where the system gives them one by one. None where there is no such folder."""
    try:
        if isinstance(folder, RemotePath):
            yield from folder.names()
            return
        with os.scandir(folder) as entries:
            yield from (entry.name for entry in entries)
    except FileNotFoundError:
        return


def facts_in(folder: Place, names: Sequence[str]) -> list[FileFacts | None]:
    """Size and time of the last change of files in a folder, None of what is no file there. A store is asked about all at once."""
    if isinstance(folder, RemotePath):
        return folder.facts(names)
    return [_facts(folder / name) for name in names]


def contents_in(folder: Place, names: Sequence[str]) -> list[bytes | None]:
    """The bytes of files in a folder, None of those that are not there, or on this machine cannot be read. A store is asked for all at once."""
    if isinstance(folder, RemotePath):
        return folder.contents(names)
    return [_content(folder / name) for name in names]


def _facts(path: Path) -> FileFacts | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return FileFacts(found.st_size, found.st_mtime_ns) if stat.S_ISREG(found.st_mode) else None


def _content(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None


def _remedy(error: OSError) -> str:
    if error.errno == errno.ENOENT:
        return "make the bucket first, or choose another --out"
    if error.errno == errno.EACCES:
        return "give this account the rights to put, list, read and remove objects there, or choose another --out"
    return "see that the address is right and the store at work, or choose another --out"


def _fault(protocol: str, netloc: str, names: str) -> str | None:
    """What keeps the parts of a URL from being a place."""
    host, secret = netloc.rpartition("@")[2], "@" in netloc
    if (protocol in ("s3", "s3a", "gs", "gcs") and (secret or ":" in netloc)) or (":" in host and not host.rpartition(":")[2].isdigit()):
        return "keys have no place in the URL, expected as s3://bucket/folder; set them as the driver has them, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY for s3"
    if not host and protocol != "memory":
        return f"names no bucket, expected as {protocol}://bucket/folder"
    if NOT_IN_KEYS.search(netloc + "/" + names) or {".", ".."} & set(names.split("/")):
        return "has .., a chain of URLs or one of * ? [ ] # \\ in it; choose plain names"
    return None


def _masked(text: str) -> str:
    """A URL that may be of any form, without what may be a password."""
    return " ".join(re.sub(r":/{0,2}.*@", "://***@", text, flags=re.DOTALL).split())
