"""Processes that prepare data beside the one that uses them: how torch's loaders are told to start and to end them."""

import multiprocessing
import os
import signal
import threading
from typing import Any

import torch
from threadpoolctl import threadpool_limits


def reader_options(readers: int, module: str) -> dict[str, Any]:
    """The arguments of a `DataLoader` with so many readers, which work on one thread each, live on from one iteration to the next and end with the process that
    uses them, however that ends. `module`: what they need, loaded once for all of them. With 0 that process reads itself.
    """
    if not readers:
        return {"num_workers": 0}
    return {"num_workers": readers, "multiprocessing_context": _clean_processes(module), "persistent_workers": True, "worker_init_fn": _start_reader}


def _clean_processes(module: str) -> Any:
    """Readers are forked from a server that has the module loaded and no threads: a fork of the using process would copy torch's threads' locks, and fresh
    processes would load torch once each in every run."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([module])
    return context


def _start_reader(_: int) -> None:
    """One thread, for the cores are for training; and another that only waits. Ctrl-C, which a terminal sends to all, is for the process that reads for itself."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)
    threadpool_limits(1)
    threading.Thread(target=_end_with_user, daemon=True).start()


def _end_with_user() -> None:
    """Ends a reader whose user was killed. torch only looks whether the reader's parent lives, and that is the fork server, which lives as long as its readers."""
    user = multiprocessing.parent_process()  # the one that asked the fork server
    assert user is not None
    user.join()
    os._exit(1)
