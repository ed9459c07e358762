"""Clips made one after the other hold nothing of those before: a small version by Python's own count and the process's memory, and 20 minutes with `-m slow`."""

import gc
import re
import tracemalloc
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import pytest
from runs import small_config

from seqgen.dataset.encoding import encode_sequence
from seqgen.pipeline.assets import gather_assets
from seqgen.pipeline.config import GenerateConfig
from seqgen.pipeline.generate import Sources, generate_sequence, open_sources
from seqgen.pipeline.process import one_thread
from seqgen.scene.surroundings.photos import decode_photo

SIZE, FRAMES = (96, 80), 2
CLIPS = 8
MOST_HELD_BYTES = 50_000  # of Python's objects, after so many more clips: a single label array of each would be more
MOST_GROWN_KB = CLIPS * FRAMES * SIZE[0] * SIZE[1] * 3 * 4 // 2 // 1000  # half of the light of those clips, which is one of their dozen buffers


def make(clips: range, sources: Sources, config: GenerateConfig) -> None:
    for index in clips:
        encode_sequence(generate_sequence(index, sources, config), jpeg_quality=95)


def own_kb() -> int:
    """Anonymous memory of this process."""
    return int(re.search(r"^RssAnon:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.MULTILINE)[1])


def test_more_clips_hold_no_more_memory() -> None:
    """New ones each time. Photos are decoded before: those that fit are kept, by intent."""
    config = small_config(clip={"size": SIZE, "frames": FRAMES}, occluder={"share": 0.5})
    with one_thread():
        sources = open_sources(gather_assets(config), config)
        for photo in {photo for chosen in sources.assets.photos.values() for photo in chosen}:
            decode_photo(photo.place)
        times = iter(range(0, 5 * CLIPS, CLIPS))

        def make_more() -> None:
            first = next(times)
            make(range(first, first + CLIPS), sources, config)
            gc.collect()

        make_more()
        before_kb = own_kb()
        make_more()
        assert own_kb() - before_kb < MOST_GROWN_KB
        tracemalloc.start()
        try:
            make_more()  # what was there already is replaced by what is counted
            before = tracemalloc.get_traced_memory()[0]
            make_more()
            assert tracemalloc.get_traced_memory()[0] - before < MOST_HELD_BYTES
        finally:
            tracemalloc.stop()


def soaking() -> ModuleType:
    """docs/benchmarks/soak.py."""
    spec = spec_from_file_location("soaking", Path(__file__).parent.parent / "docs" / "benchmarks" / "soak.py")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
def test_twenty_minutes() -> None:
    """The issue's bounds: less than 3 % more memory after the first minute; frames a second as at the beginning, within the tenth that a shared machine changes."""
    found = soaking().soak(20, 1)
    assert {name.split()[0] for name in found.processes()} == {"driver", "worker"}
    assert all(found.growth(process) < 0.03 and found.growth(process, 1) < 0.03 for process in found.processes())
    first, last = found.speeds()
    assert last > 0.9 * first
