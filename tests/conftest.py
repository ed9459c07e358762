"""What all tests share: a cache of their own, made once a session."""

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from seqgen.hand.layer import HandLayer

if "PYTEST_XDIST_WORKER" in os.environ:  # as many as there are cores work at once, each with one; set before any library counts them
    os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Nothing that the tests make lands in the user's cache, and nothing there is taken for fresh; child processes inherit it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SEQGEN_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def open_layer() -> "HandLayer":
    """The open hand, ready to be posed."""
    from seqgen.hand import load_hand
    from seqgen.hand.layer import HandLayer

    return HandLayer(load_hand("open"))
