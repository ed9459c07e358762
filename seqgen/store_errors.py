"""What a store answers in place of what it was asked for: any driver's errors, as ours, in one line and without keys. Knows no driver."""

import errno
import re
from collections.abc import Iterator
from contextlib import contextmanager

from seqgen.errors import UserError

DENIED = re.compile(r"denied|forbidden|unauthori[sz]ed|credential|permission|\b40[13]\b", re.IGNORECASE)
MOST_WORDS = 200  # characters of a driver's message that are shown


class StoreError(OSError):
    """What a store answers in place of what it was asked for, after its driver's own tries: `errno` is EACCES where rights or keys are missing, ENOENT where the
    bucket is, EIO for all else, which may pass. In one line, without keys."""

    def __str__(self) -> str:
        return f"{self.filename}: {self.strerror}"


@contextmanager
def answering(place: str, base: str, *, missing_is_wrong: bool = False) -> Iterator[None]:
    """Names what a store answers that is asked about `place`; `base`: the beginning of its URL, with user and password where it has them. Drivers
    raise errors of all libraries that they stand on, so whatever comes out of one is the store's; it is asked with names and bytes alone."""
    try:
        yield
    except (UserError, StoreError):
        raise
    except Exception as error:
        text = _told(error, base)
        if isinstance(error, FileExistsError):
            raise FileExistsError(errno.EEXIST, text, place) from None
        if isinstance(error, FileNotFoundError):
            kind = StoreError if missing_is_wrong else FileNotFoundError
            raise kind(errno.ENOENT, text, place) from None
        denied = isinstance(error, PermissionError) or DENIED.search(f"{type(error).__name__} {text}")
        raise StoreError(errno.EACCES if denied else errno.EIO, text, place) from None


def _told(error: Exception, base: str) -> str:
    """A driver's message in one line, without user and password of the URL."""
    text = " ".join(str(error.args[-1] if isinstance(error, OSError) and error.args else error).split()) or type(error).__name__
    user = base.partition("://")[2].rpartition("@")[0]
    for secret in filter(None, (user, user.partition(":")[2])):
        text = text.replace(secret, "***")
    return text[:MOST_WORDS]
