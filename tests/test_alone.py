"""THE law of batches: a clip's bits alone are its bits in any batch, at any place in it. For every function that takes several clips at once.

    clips 0..8 ──> each alone
               └─> some of them in some order ──> the same bits, clip by clip
"""

import dataclasses
from collections.abc import Callable
from functools import cache

import numpy as np
import pytest
import torch
from banks import built_in_hands
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation
from slow_refine import refine_clip

from seqgen.componentwise import applied, axis_angle_of, components_first, composed, cross, dot, rows_first, unit
from seqgen.geometry import axis_angle_from_matrix, matrix_from_axis_angle
from seqgen.hand import load_hand
from seqgen.hand.digits import angles_from_rotations, digit_rig, rotations_from_angles
from seqgen.hand.fit import SHIPPED, PoseEncoder, model_from_hand, read_encoder
from seqgen.hand.layer import HandLayer, _added_up, _blended
from seqgen.hand.plausibility import hand_capsules, measure_plausibility
from seqgen.hand.refine import refine_directions
from seqgen.pipeline.motion import pose_hand, pose_hands

NUM = 9
HAND = load_hand("open")
LIKE_MANO = dataclasses.replace(HAND, pose_directions=np.random.default_rng(1).normal(0, 3e-4, HAND.pose_directions.shape).astype(np.float32))
RIG, RIG_LIKE_MANO, CAPSULES = digit_rig(HAND), digit_rig(LIKE_MANO), hand_capsules(HAND)
LAYERS = [HandLayer(HAND), HandLayer(LIKE_MANO)]
ENCODER = read_encoder(SHIPPED)
batches = st.lists(st.integers(0, NUM - 1), min_size=1, max_size=NUM, unique=True)
lengths = st.integers(1, 12)


def clips(frames: int, seed: int) -> dict[str, np.ndarray]:
    """What NUM clips of so many frames are made of: motions of the built-in bank, shapes, finger rotations, turns before a camera."""
    rng = np.random.default_rng(seed)
    hands = built_in_hands().joints_m
    joints = np.stack([hands[first : first + frames] for first in rng.integers(0, 1500, NUM)]).astype(float)
    rotations = np.stack([ENCODER.of_clips(clip[None])[0] for clip in joints])
    turns = Rotation.random(NUM * frames, rng=rng).as_matrix().reshape(NUM, frames, 3, 3)
    return {"joints_m": joints, "betas": rng.standard_normal((NUM, 10)).astype(np.float32), "rotations": rotations, "turns": turns}


def layer_of(layer: HandLayer) -> Callable[..., list[tuple[np.ndarray, ...]]]:
    def skinned(joints_m, betas, rotations, turns):
        pose = np.concatenate([axis_angle_from_matrix(turns)[:, :, None], rotations], 2).astype(np.float32)
        mesh = layer(torch.tensor(pose.reshape(-1, 16, 3)), torch.tensor(betas), torch.zeros(len(pose) * pose.shape[1], 3))
        return [tuple(values.numpy().reshape(*pose.shape[:2], -1, 3)[clip] for values in mesh) for clip in range(len(pose))]

    return skinned


@cache
def seven_layers() -> PoseEncoder:
    """The official script's depth, untrained."""
    encoder, rng = PoseEncoder(7).eval().requires_grad_(False), np.random.default_rng(0)
    for layer in encoder.layers:
        layer.weight[:], layer.bias[:] = (torch.tensor(rng.normal(0, 0.05, values.shape)) for values in (layer.weight, layer.bias))
    for norm in encoder.norms:
        norm.running_mean[:], norm.running_var[:] = torch.tensor(rng.normal(0, 1, len(norm.bias))), torch.tensor(rng.uniform(0.5, 2, len(norm.bias)))
    return encoder


def posed(joints_m, betas, rotations, turns):
    return [(hand.pose, hand.joints_m, hand.vertices_m) for hand in pose_hands(rotations, betas, turns, LAYERS[0])]


def measured(joints_m, betas, rotations, turns):
    return [tuple(map(np.float64, dataclasses.astuple(one))) for one in measure_plausibility(CAPSULES, rotations, betas)]


BATCHED: dict[str, Callable] = {
    "encoder": lambda joints_m, betas, rotations, turns: ENCODER.of_clips(joints_m),
    "encoder, seven layers": lambda joints_m, betas, rotations, turns: seven_layers().of_clips(joints_m),
    "refinement": lambda joints_m, betas, rotations, turns: refine_directions(RIG, rotations.astype(float), joints_m, betas.astype(float)),
    "refinement, tips move": lambda joints_m, betas, rotations, turns: refine_directions(RIG_LIKE_MANO, rotations.astype(float), joints_m, betas.astype(float), fps=60.0),
    "plausibility": measured,
    "angles": lambda joints_m, betas, rotations, turns: angles_from_rotations(RIG, rotations.astype(float)),
    "rotations": lambda joints_m, betas, rotations, turns: rotations_from_angles(RIG, angles_from_rotations(RIG, rotations.astype(float))),
    "axis-angle": lambda joints_m, betas, rotations, turns: axis_angle_from_matrix(turns),
    "matrices": lambda joints_m, betas, rotations, turns: matrix_from_axis_angle(rotations),
    "axes of shapes": lambda joints_m, betas, rotations, turns: model_from_hand(LAYERS[0], betas),
    "skinning": layer_of(LAYERS[0]),
    "skinning, pose directions": layer_of(LAYERS[1]),
    "posing": posed,
}


@pytest.mark.parametrize("name", BATCHED)
@given(frames=lengths, seed=st.integers(0, 1000), orders=st.lists(batches, min_size=1, max_size=3))
@settings(max_examples=6, deadline=None, derandomize=True)
def test_alone_as_in_any_batch(name: str, frames: int, seed: int, orders: list[list[int]]) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        given_clips, function = clips(frames, seed), BATCHED[name]

        def of(chosen):
            return function(**{key: values[chosen].copy() for key, values in given_clips.items()})

        alone = [of([number])[0] for number in range(NUM)]
        for order in orders:
            for number, result in zip(order, of(order), strict=True):
                pairs = zip(alone[number], result, strict=True) if isinstance(result, tuple) else [(alone[number], result)]
                assert all(np.array_equal(a, b) for a, b in pairs), f"clip {number} in the batch {order}, {frames} frames"
    finally:
        torch.set_num_threads(before)


# Twins: what was computed clip by clip before


@pytest.mark.parametrize("frames", [1, 2, 3, 10])
def test_refinement_is_that_of_one_clip_after_another(frames: int) -> None:
    """Within 1e-5 rad: both solve the same equations, and stop at the same step."""
    of = clips(frames, frames)
    refined = refine_directions(RIG, of["rotations"].astype(float), of["joints_m"], of["betas"].astype(float), fps=30.0)
    for number in range(NUM):
        expected = refine_clip(RIG, of["rotations"][number].astype(float), of["joints_m"][number], of["betas"][number].astype(float), fps=30.0)
        np.testing.assert_allclose(refined[number], expected, atol=1e-5)


@pytest.mark.parametrize("encoder", [ENCODER, seven_layers()], ids=["four layers", "seven"])
def test_the_encoder_of_clips_is_the_encoder(encoder: PoseEncoder) -> None:
    joints = clips(10, 0)["joints_m"].astype(np.float32)
    expected = encoder(torch.tensor(joints.reshape(-1, 21, 3))).numpy().reshape(NUM, 10, 15, 3)
    np.testing.assert_allclose(encoder.of_clips(joints), expected, atol=1e-5)


def test_one_hand_is_one_of_several() -> None:
    of = clips(4, 2)
    for number, several in enumerate(pose_hands(of["rotations"], of["betas"], of["turns"], LAYERS[0])):
        one = pose_hand(of["rotations"][number], of["betas"][number], of["turns"][number], LAYERS[0])
        assert all(np.array_equal(a, b) for a, b in zip(vars(one).values(), vars(several).values(), strict=True))


def test_componentwise_is_numpy() -> None:
    rng = np.random.default_rng(0)
    a, b, v, w = rng.standard_normal((7, 5, 3, 3)), rng.standard_normal((7, 5, 3, 3)), rng.standard_normal((7, 5, 3)), rng.standard_normal((7, 5, 3))
    ca, cb, cv, cw = components_first(a, 2), components_first(b, 2), components_first(v), components_first(w)
    assert ca.shape == (3, 3, 7, 5) and ca.flags.c_contiguous and np.shares_memory(components_first(rows_first(ca, 2), 2), ca)
    np.testing.assert_array_equal(rows_first(ca, 2), a)
    np.testing.assert_allclose(rows_first(composed(ca, cb), 2), a @ b, atol=1e-14)
    np.testing.assert_allclose(rows_first(applied(ca, cv)), (a @ v[..., None])[..., 0], atol=1e-14)
    np.testing.assert_allclose(dot(cv, cw), (v * w).sum(-1), atol=1e-14)
    np.testing.assert_allclose(rows_first(cross(cv, cw)), np.cross(v, w), atol=1e-14)
    np.testing.assert_allclose(rows_first(unit(cv)), v / np.linalg.norm(v, axis=-1, keepdims=True), atol=1e-14)
    assert (unit(np.zeros((3, 2))) == 0).all()


@pytest.mark.parametrize("angle", [0.0, 1e-170, 1e-9, 1e-3, 1.0, 2.5, np.pi - 1e-3])
def test_axis_angles_are_scipys(angle: float) -> None:
    axes = np.random.default_rng(0).standard_normal((50, 3))
    vectors = angle * axes / np.linalg.norm(axes, axis=1, keepdims=True)
    np.testing.assert_allclose(axis_angle_of(components_first(Rotation.from_rotvec(vectors).as_matrix(), 2)).T, vectors, rtol=0, atol=1e-12)


# CUDA: the same code, where torch puts it; pictures of one hand on another device are near, not the same


def test_joints_added_up_are_their_product() -> None:
    """How a CUDA device blends the joints' motions, in a batch and alone, against the CPU's product."""
    generator = torch.Generator().manual_seed(0)
    transforms, weights = torch.randn(7, 16, 12, generator=generator), torch.rand(16, 50, generator=generator)
    several = _added_up(transforms, weights)
    torch.testing.assert_close(several, _blended(transforms, weights), rtol=0, atol=1e-5)
    assert all(torch.equal(_added_up(transforms[row : row + 1], weights)[0], several[row]) for row in range(7))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_hands_on_cuda_are_near_those_on_the_cpu() -> None:
    of, layer = clips(10, 0), HandLayer(HAND).to("cuda")
    near = pose_hands(of["rotations"], of["betas"], of["turns"], layer)
    for number, (ours, theirs) in enumerate(zip(pose_hands(of["rotations"], of["betas"], of["turns"], LAYERS[0]), near, strict=True)):
        np.testing.assert_allclose(ours.vertices_m, theirs.vertices_m, atol=1e-5)
        alone = pose_hand(of["rotations"][number], of["betas"][number], of["turns"][number], layer)
        assert np.array_equal(alone.vertices_m, theirs.vertices_m)
