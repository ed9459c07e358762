"""Nearest poses in large banks: exact up to EXACT_ROWS, then by inverted lists (faiss), with the same result whatever the number of threads."""

import logging
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np
from jaxtyping import Float32, Int64

Array = np.ndarray
EXACT_ROWS = 200_000  # all pairs of so many rows take a minute on one core
QUERY_ROWS = 2048  # searched at a time, whatever the threads, so that no bit depends on them
LISTS_A_ROOT, NUM_PROBES = 3, 12  # lists for each root of the number of rows; lists looked through for each query
TRAINING_ROWS_A_LIST, TRAINING_ROUNDS = 32, 5

Result = TypeVar("Result")

log = logging.getLogger(__name__)


def nearest_rows(
    queries: Float32[Array, "queries d"], rows: Float32[Array, "rows d"], k: int, *, say: Callable[[str], None] = log.info
) -> tuple[Int64[Array, "queries k"], Float32[Array, "queries k"]]:
    """The k nearest rows of each query, nearest first, and their squared distances. Exact for up to EXACT_ROWS rows."""
    import faiss

    queries, rows = np.ascontiguousarray(queries), np.ascontiguousarray(rows)
    threads = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    try:
        index = _index(rows, say)
        return _search(index, queries, k, say if len(rows) > EXACT_ROWS else log.debug)
    finally:
        faiss.omp_set_num_threads(threads)


def _index(rows: Array, say: Callable[[str], None]):
    import faiss

    if len(rows) <= EXACT_ROWS:
        index = faiss.IndexFlatL2(rows.shape[1])
        index.add(rows)
        return index
    num_lists = int(LISTS_A_ROOT * np.sqrt(len(rows)))
    say(f"sorting {len(rows):,} poses into {num_lists:,} lists")
    quantiser = faiss.IndexFlatL2(rows.shape[1])
    index = faiss.IndexIVFFlat(quantiser, rows.shape[1], num_lists)
    index.cp.niter, index.cp.seed, index.nprobe = TRAINING_ROUNDS, 1, NUM_PROBES
    index.cp.min_points_per_centroid, index.cp.max_points_per_centroid = 1, TRAINING_ROWS_A_LIST
    sample = np.sort(np.random.default_rng(0).permutation(len(rows))[: TRAINING_ROWS_A_LIST * num_lists])
    index.train(rows[sample])
    lists = np.ascontiguousarray(np.concatenate(_in_chunks(lambda part: quantiser.search(rows[part], 1)[1][:, 0], len(rows))))
    index.add_core(len(rows), faiss.swig_ptr(rows), None, faiss.swig_ptr(lists))
    return index


def _search(index, queries: Array, k: int, say: Callable[[str], None]) -> tuple[Array, Array]:
    squared, nearest = (np.concatenate(parts) for parts in zip(*_in_chunks(lambda part: index.search(queries[part], k), len(queries), say), strict=True))
    return nearest, np.maximum(squared, 0, out=squared)


def _in_chunks(work: Callable[[slice], Result], num_rows: int, say: Callable[[str], None] = log.debug) -> list[Result]:
    """What `work` gives for chunks of fixed size, on as many threads as there are cores; each chunk is one thread's."""
    import faiss

    starts = range(0, num_rows, QUERY_ROWS)
    every = max(1, len(starts) // 10)

    def one(number: int) -> Result:
        faiss.omp_set_num_threads(1)
        result = work(slice(starts[number], starts[number] + QUERY_ROWS))
        if number % every == every - 1:
            say(f"neighbours: {100 * (number + 1) // len(starts)} %")
        return result

    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        return list(pool.map(one, range(len(starts))))
