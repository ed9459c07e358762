"""Batches: every clip once an epoch, in an order and with a look that seed, epoch and place decide, whoever reads them."""

import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from seqgen.dataset.clip import ClipSource, LabelledClip
from seqgen.errors import UserError
from seqgen.estimators.views.batch import Batch
from seqgen.estimators.views.crop import InputConfig
from seqgen.training.augment import AugmentConfig
from seqgen.training.batches import Batches, DataConfig

INPUT = InputConfig(size=16)


@dataclass(frozen=True)
class MadeUp:
    """Clips whose every pixel of frame t of clip n is (10 n, 10 t, 0). `broken`: a clip that cannot be read."""

    name: str = "made up"
    lengths: tuple[int, ...] = (6,) * 10
    broken: int | None = None

    def __len__(self) -> int:
        return len(self.lengths)

    def key(self, position: int) -> str:
        return f"{self.name} {position}"

    def num_frames(self, position: int) -> int:
        return self.lengths[position]

    def read(self, position: int, frames: Sequence[int] | None = None) -> LabelledClip:
        if position == self.broken:
            raise UserError(f"{self.name}: clip {position} is damaged")
        assert frames is None or max(frames) < self.lengths[position], "beyond the clip"
        frames = range(self.lengths[position]) if frames is None else frames
        rgb = np.zeros((len(frames), 16, 16, 3), np.uint8)
        rgb[..., 0], rgb[..., 1] = 10 * position, 10 * np.array(frames)[:, None, None]
        joints = np.random.default_rng(position).normal(size=(self.lengths[position], 21, 3)).astype(np.float32)[list(frames)]
        boxes, valid = np.tile(np.float32([2, 2, 12, 12]), (len(frames), 1)), np.ones((len(frames), 21), bool)
        return LabelledClip(self.key(position), self.name, "right", 30.0, rgb, joints, 8 + 3 * joints[..., :2], valid, boxes, "perspective")


def batches(*sources: ClipSource, augment: AugmentConfig | None = None, seed: int = 0, whole: bool = False, **data: object) -> Batches:
    config = DataConfig(**{"frames": 3, "batch": 4, "readers": 0, **data})
    return Batches(sources or [MadeUp()], config, INPUT, augment, seed=seed, whole=whole)


def seen(batch: Batch) -> list[tuple[str, list[int]]]:
    """Key and frames of each clip of a batch, from the colours."""
    return [(key, (rgb[:, 1, 5, 5] // 10).tolist()) for key, rgb in zip(batch.keys, batch.rgb, strict=True)]


def assert_same(one: Batch, other: Batch) -> None:
    for field in fields(Batch):
        ours, theirs = getattr(one, field.name), getattr(other, field.name)
        assert torch.equal(ours, theirs) if isinstance(ours, Tensor) else ours == theirs, field.name


def test_an_epoch_has_every_clip_once_but_for_the_rest() -> None:
    made = batches()
    for epoch in range(4):
        keys = [key for batch in made.of_epoch(epoch) for key in batch.keys]
        assert len(keys) == 8 == len(set(keys)) and made.num_batches == 2
    whole = list(batches(whole=True).of_epoch(0))
    assert [len(batch.keys) for batch in whole] == [4, 4, 2] and batches(whole=True).num_batches == 3
    assert len({key for batch in whole for key in batch.keys}) == 10
    few = batches(batch=64)
    assert few.num_batches == 1 and len(next(few.of_epoch(0)).keys) == 10  # less than one batch is better than none


def test_order_window_and_look_depend_on_seed_and_epoch_alone() -> None:
    augment = AugmentConfig()
    first, again = (list(batches(augment=augment).of_epoch(3)) for _ in range(2))
    for one, other in zip(first, again, strict=True):
        assert_same(one, other)
    orders = {tuple(key for batch in batches(seed=seed).of_epoch(epoch) for key in batch.keys) for seed in range(3) for epoch in range(3)}
    assert len(orders) == 9
    looks = {batch.crop_from_picture[0].numpy().tobytes() for seed in range(2) for epoch in range(2) for batch in batches(augment=augment, seed=seed).of_epoch(epoch)}
    assert len(looks) == 8
    by_key = [{key: rgb for batch in batches(augment=augment, batch=size).of_epoch(0) for key, rgb in zip(batch.keys, batch.rgb, strict=True)} for size in (2, 5)]
    assert len(by_key[0]) == 10 and all(torch.equal(rgb, by_key[1][key]) for key, rgb in by_key[0].items())  # of its place, not of its batch


def test_windows_are_frames_in_a_row_from_anywhere() -> None:
    for stride, last_start in ((1, 3), (2, 1)):
        starts = Counter()
        for epoch in range(12):
            for batch in batches(stride=stride, whole=True).of_epoch(epoch):
                for _, frames in seen(batch):
                    assert frames == [frames[0], frames[0] + stride, frames[0] + 2 * stride]
                    starts[frames[0]] += 1
        assert sorted(starts) == list(range(last_start + 1))
        expected = 120 / (last_start + 1)
        assert all(abs(count - expected) < 5 * np.sqrt(expected) for count in starts.values())


def test_an_epoch_can_be_entered_in_its_middle() -> None:
    made = batches(MadeUp(lengths=(5,) * 23), augment=AugmentConfig())
    whole, rest = list(made.of_epoch(2)), list(made.of_epoch(2, 3))
    assert len(whole) == 5 and len(rest) == 2
    for one, other in zip(whole[3:], rest, strict=True):
        assert_same(one, other)


def test_what_came_before_is_not_read() -> None:
    made = batches(MadeUp(lengths=(3,) * 8, broken=4))
    epoch = next(epoch for epoch in range(99) if 4 in made._plan(epoch)[0])
    assert len(list(made.of_epoch(epoch, 1))) == 1
    with pytest.raises(UserError, match=r"^made up: clip 4 is damaged$"):
        next(made.of_epoch(epoch))


def test_stills_go_along_in_batches_of_their_own() -> None:
    stills, clips = MadeUp("stills", (1,) * 9), MadeUp("clips", (7,) * 8)
    made = batches(clips, stills)
    sizes = Counter((batch.rgb.shape[1], len(batch.keys), {key.split("/")[0] for key in batch.keys} == {"stills"}) for batch in made.of_epoch(0))
    assert sizes == {(3, 4, False): 2, (1, 4, True): 2} and made.num_batches == 4
    first = [next(iter(made.of_epoch(epoch))).rgb.shape[1] for epoch in range(20)]
    assert set(first) == {1, 3}  # mixed, not one kind after the other


def test_keys_say_of_which_of_several_sources_a_clip_is() -> None:
    one, other = MadeUp("one", (3,) * 2), MadeUp("other", (3,) * 2)
    assert {key for batch in batches(one, other).of_epoch(0) for key in batch.keys} == {"one/one 0", "one/one 1", "other/other 0", "other/other 1"}
    assert {key for batch in batches(one, batch=2).of_epoch(0) for key in batch.keys} == {"one 0", "one 1"}


def test_static_is_the_same_frames_one_by_one() -> None:
    """Twelve stills a batch, as many frames as in four clips of three; those of a window, wherever the shuffle puts them."""
    moving, static = batches(MadeUp(lengths=(9,) * 8)), batches(MadeUp(lengths=(9,) * 8), static=True)
    assert moving.num_batches == static.num_batches == 2
    for epoch in range(3):
        frames = sorted((key, frame) for batch in moving.of_epoch(epoch) for key, window in seen(batch) for frame in window)
        stills = [(key, frame) for batch in static.of_epoch(epoch) for key, [frame] in seen(batch)]
        assert sorted(stills) == frames and stills != frames
        assert all(batch.rgb.shape[:2] == (12, 1) for batch in static.of_epoch(epoch))
    looks = {crop.numpy().tobytes() for batch in batches(static=True, augment=AugmentConfig()).of_epoch(0) for crop in batch.crop_from_picture}
    assert len(looks) == 24  # each frame its own


def test_what_cannot_be_had_is_refused_at_once() -> None:
    with pytest.raises(UserError, match=r"^made up: clip made up 2 has 4 frames, but frames = 5 takes 5; ask for fewer or give longer clips$"):
        batches(MadeUp(lengths=(5, 9, 4)), frames=5)
    with pytest.raises(UserError, match=r"has 6 frames, but frames = 4 with stride 2 takes 7;"):
        batches(frames=4, stride=2)
    for sources in ([], [MadeUp("empty", ())]):
        with pytest.raises(UserError, match="no clips to read"):
            Batches(sources, DataConfig(), INPUT, None, seed=0)


def test_reader_processes_make_the_same_batches_and_live_on() -> None:
    """Two epochs, one entered in its middle, one left in its middle, and a clip that cannot be read: one line, not a traceback."""
    source, augment = MadeUp(lengths=(5,) * 17, broken=16), AugmentConfig()
    alone = batches(source, augment=augment, batch=2)
    whole_epochs = [epoch for epoch in range(200) if all(16 not in places for places in alone._plan(epoch))][:2]
    broken = next(epoch for epoch in range(200) if 16 in alone._plan(epoch)[1])
    together = batches(source, augment=augment, batch=2, readers=2)
    expected = {epoch: list(alone.of_epoch(epoch)) for epoch in whole_epochs}
    for epoch, start in ((whole_epochs[0], 0), (whole_epochs[1], 0), (whole_epochs[0], 5)):
        got = list(together.of_epoch(epoch, start))
        assert len(got) == 8 - start
        for one, other in zip(expected[epoch][start:], got, strict=True):
            assert_same(one, other)
        next(together.of_epoch(whole_epochs[1], 2))  # and left
    with pytest.raises(UserError, match=r"^made up: clip 16 is damaged$"):
        list(together.of_epoch(broken))
    assert_same(next(together.of_epoch(whole_epochs[0])), expected[whole_epochs[0]][0])
    together.close()


TRAINING_WITH_A_READER = """
import multiprocessing, time
from test_batches import batches
made = batches(readers=1)
next(made.of_epoch(0))
print(*(child.pid for child in multiprocessing.active_children()), flush=True)
time.sleep(600)
"""


def test_readers_end_with_a_training_that_is_killed() -> None:
    """Readers and their fork server inherit the training's output, so it is at its end when the last of them is."""
    training = subprocess.Popen([sys.executable, "-c", TRAINING_WITH_A_READER], cwd=Path(__file__).parent, stdout=subprocess.PIPE, text=True)
    assert training.stdout is not None
    readers = [int(word) for word in training.stdout.readline().split()]
    training.kill()
    try:
        training.communicate(timeout=10)
    except subprocess.TimeoutExpired:
        for reader in readers:
            os.kill(reader, signal.SIGKILL)
        training.communicate()
        pytest.fail("the readers live on")
    assert len(readers) == 1
