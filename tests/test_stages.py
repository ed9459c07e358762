"""The stages of generating: a clip's bits are the same alone and in any batch at any place in it, and batches are made when they are asked for."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields, replace
from itertools import chain, count, islice

import numpy as np
import pytest
from runs import small_config

from seqgen.dataset.encoding import encode_sequence
from seqgen.dataset.sequence import HandSequence
from seqgen.pipeline import generate
from seqgen.pipeline.assets import gather_assets
from seqgen.pipeline.config import GenerateConfig
from seqgen.pipeline.generate import BATCH_PIXELS, STAGES, Sources, generate_sequence, generate_sequences, motions_at_once, open_sources, pictures_at_once
from seqgen.pipeline.motion import draw_motions, fit_motions
from seqgen.pipeline.process import one_thread
from seqgen.turns import Turns

CONFIGS = {
    "default": small_config(hand={"left": 0.5}),
    "every picture": small_config(
        labels={"optical_flow": True, "normals": True, "mask_amodal": True, "mask_visible": True}, sensor={"depth": "sr300"}, render={"shutter": (0.5, 0.5)}, hand={"left": 0.5}
    ),
    "rigs": small_config(sequences=12, camera={"views": 3}),
    "paper": small_config(camera={"kind": "weak_perspective"}, hand={"refine": False, "pose_components": 10}, flow={"kind": "paper"}, skin={"kind": "flat"}),
}


@pytest.fixture(scope="module", params=CONFIGS)
def config(request: pytest.FixtureRequest) -> GenerateConfig:
    return CONFIGS[request.param]


@pytest.fixture(scope="module")
def sources(config: GenerateConfig) -> Sources:
    with one_thread():
        return open_sources(gather_assets(config), config)


def members(sequence: HandSequence) -> tuple:
    """All that a record holds, and what is stored of it."""
    arrays = {f"{name}.{field.name}": getattr(record, field.name) for name, record in (("clip", sequence), ("labels", sequence.labels)) for field in fields(record)}
    kept = {name: (str(array.dtype), array.shape, array.tobytes()) for name, array in arrays.items() if isinstance(array, np.ndarray)}
    return kept, sequence.meta, sequence.key, encode_sequence(sequence, jpeg_quality=95)


def test_alone_as_in_any_batch_at_any_place(sources: Sources, config: GenerateConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(3)
    with one_thread():
        alone = [members(generate_sequence(index, sources, config)) for index in range(8)]
        for size, pictures in ((5, 2), (8, 8)):
            monkeypatch.setattr(generate, "BATCH_FRAMES", size * 4)
            monkeypatch.setattr(generate, "BATCH_PIXELS", pictures * 4 * 96 * 80)
            order = rng.permutation(8).tolist()
            for index, sequence in zip(order, generate_sequences(order, sources, config), strict=True):
                assert members(sequence) == alone[index], f"sequence {index} in batches of {size}, order {order}"


def test_motions_drawn_anew_are_each_drawn_as_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a touch already is too deep most motions are drawn anew, some more often than others."""
    monkeypatch.setattr("seqgen.hand.plausibility.MAX_PENETRATION_M", 0.002)
    config = small_config(flow={"redraws": 3})
    with one_thread():
        mover = open_sources(gather_assets(config), config).mover
        alone = [fit_motions(draw_motions([index], mover, config), mover, config)[0] for index in range(12)]
        together = fit_motions(draw_motions(list(range(12))[::-1], mover, config), mover, config)[::-1]
    assert len({clip.redraws for clip in alone}) >= 3
    for one, other in zip(alone, together, strict=True):
        assert (one.index, one.redraws) == (other.index, other.redraws)
        assert np.array_equal(one.rotations, other.rotations) and np.array_equal(one.flow.joints_m, other.flow.joints_m)


def test_stages_one_after_another_are_the_whole(sources: Sources, config: GenerateConfig) -> None:
    assert list(STAGES) == ["flow", "fit", "skinning", "scene", "render", "image formation", "labels"]
    with one_thread():
        clips = [4, 1]
        for stage in STAGES.values():
            clips = stage(clips, sources, config)
            assert len(clips) == 2
        assert [members(clip) for clip in clips] == [members(generate_sequence(index, sources, config)) for index in (4, 1)]


def test_batches_are_made_when_they_are_asked_for(sources: Sources, config: GenerateConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    moved, pictured = [], []
    monkeypatch.setattr(generate, "MOTION_STAGES", ("motion",))
    monkeypatch.setattr(generate, "PICTURE_STAGES", ("pictures",))
    monkeypatch.setattr(generate, "BATCH_FRAMES", 8 * 4)
    monkeypatch.setattr(generate, "BATCH_PIXELS", 3 * 4 * 96 * 80)
    stages = {"motion": lambda indices, *rest: moved.append(indices) or indices, "pictures": lambda clips, *rest: pictured.append(clips) or list(map(str, clips))}
    monkeypatch.setattr(generate, "STAGES", stages)
    made = generate_sequences(count(), sources, config)  # of all numbers that there are
    assert moved == pictured == []
    assert next(made) == "0" and moved == [list(range(8))] and pictured == [[0, 1, 2]]
    assert list(islice(made, 8)) == [str(index) for index in range(1, 9)]
    assert moved == [list(range(8)), list(range(8, 16))] and list(chain(*pictured)) == list(range(11))
    assert list(generate_sequences([], sources, config)) == []


class NotedTurns(Turns):
    held = False

    @contextmanager
    def take(self) -> Iterator[None]:
        self.held = True
        yield
        self.held = False


def test_a_turn_is_held_while_a_batch_is_made_and_not_while_it_is_used(sources: Sources, config: GenerateConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generate, "STAGES", dict.fromkeys(STAGES, lambda clips, sources, config: [sources.turns.held for _ in clips]))
    noted = replace(sources, turns=NotedTurns())
    assert next(generate_sequences(range(3), noted, config)) is True and not noted.turns.held


@pytest.mark.parametrize(("frames", "size", "expected"), [(10, (224, 224), 5), (10, (1000, 250), BATCH_PIXELS // 2_500_000), (10, (4096, 4096), 1)])
def test_large_pictures_are_made_few_at_once(frames: int, size: tuple[int, int], expected: int) -> None:
    assert pictures_at_once(small_config(clip={"frames": frames, "size": size})) == expected


@pytest.mark.parametrize(("frames", "expected"), [(1, 160), (10, 16), (300, 1), (10_000, 1)])
def test_long_motions_are_made_few_at_once(frames: int, expected: int) -> None:
    assert motions_at_once(small_config(clip={"frames": frames})) == expected
