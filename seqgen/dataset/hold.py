"""A run's hold on a folder: alone, or together with others that make the same data set. The system lets go of what a killed process held.

    alone        may change whose the folder is, and sweep up what others left
    together     makes shards of the data set that the folder is claimed for, beside others (`--shard-range`)

The lock is the system's on the folder itself (`flock`), so it leaves no file. Where a file system has none (many network ones), and in a store, nothing is held:
then what is written must bear company, only old leftovers are swept, and each shard is begun and ended with a look at whose the folder is.
"""

import fcntl
import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from seqgen.dataset.claim import Claim, Origin, claim_folder, is_claimed_for, sweep, sweep_partial
from seqgen.errors import UserError
from seqgen.files import sweep_aside
from seqgen.places import Place
from seqgen.remote import RemotePath

WAIT_S = 10.0  # for runs that only just begin and claim the folder; those that work hold it longer
OLD_S = 6 * 3600.0  # what is half written for so long belongs to nobody
log = logging.getLogger(__name__)


class Hold:
    """See the head of this file. `works`: the file system has locks."""

    def __init__(self, directory: Place) -> None:
        self.directory, self.works = directory, isinstance(directory, Path)
        self._descriptor = os.open(directory, os.O_RDONLY) if isinstance(directory, Path) else None

    def alone(self) -> bool:
        """Takes the folder for this run alone; False where another one holds it. What was held together may be lost then."""
        return self._lock(fcntl.LOCK_EX | fcntl.LOCK_NB)

    def together(self, *, wait: bool = False) -> bool:
        """Takes the folder beside others that do the same."""
        return self._lock(fcntl.LOCK_SH | (0 if wait else fcntl.LOCK_NB))

    def release(self) -> None:
        """Lets go."""
        self._lock(fcntl.LOCK_UN)

    def close(self) -> None:
        """Lets go for good."""
        if self._descriptor is not None:
            os.close(self._descriptor)

    def sweep(self) -> None:
        """Removes what earlier runs left half written, and shards that nobody vouches for. For those who are alone."""
        sweep(self.directory) if self.works else sweep_partial(self.directory, least_age_s=OLD_S)

    def sweep_at_the_end(self) -> None:
        """Leaves nothing half, if no other run is at work; of what was on its way to a store from this machine, nothing that nobody will put."""
        if isinstance(self.directory, RemotePath):
            sweep_aside(OLD_S)
        if self.works and self.alone():
            sweep_partial(self.directory)

    def _lock(self, how: int) -> bool:
        if self._descriptor is None:
            return True
        try:
            fcntl.flock(self._descriptor, how)
        except BlockingIOError:
            return False
        except OSError as error:
            log.info("%s: cannot be locked (%s)", self.directory, error)
            self.works = False
        return True


@contextmanager
def hold_folder(directory: Place) -> Iterator[Hold]:
    """A hold that takes nothing yet; what it has taken is let go at the end."""
    hold = Hold(directory)
    try:
        yield hold
    finally:
        hold.close()


@contextmanager
def held_alone(directory: Place) -> Iterator[None]:
    """The folder is this run's alone inside the block. A UserError where another one holds it."""
    with hold_folder(directory) as hold:
        _take_alone(hold)
        yield


def _take_alone(hold: Hold) -> None:
    if not hold.alone():
        raise UserError(f"{hold.directory}: another run is writing here; wait for it to end, or choose another --out")


def claim_alone(hold: Hold, origin: Origin, *, overwrite: bool = False) -> Claim:
    """`claim_folder`, with the folder held alone from then on. A UserError where another run holds it."""
    _take_alone(hold)
    return claim_folder(hold.directory, origin, overwrite=overwrite)


def claim_together(hold: Hold, origin: Origin) -> Claim:
    """The same for one of several runs: held alone while the folder changes hands, beside others from then on."""
    end = time.monotonic() + WAIT_S
    while time.monotonic() < end:
        if hold.alone():
            claim_folder(hold.directory, origin)
            hold.together(wait=True)  # another run may come in between
        if hold.together():
            if is_claimed_for(hold.directory, origin):
                return claim_folder(hold.directory, origin)
            hold.release()
        time.sleep(0.1)
    raise UserError(f"{hold.directory}: runs are at work here alone, or on another config or number of sequences; wait for them to end, or choose another --out")
