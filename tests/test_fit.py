"""From joints to hand parameters: the loss in closed form, an encoder that learns, and the shipped one."""

import numpy as np
import pytest
import torch
from banks import bank_of, built_in_bank, random_curls

import seqgen.hand.fit as fit_module
from seqgen.hand import load_hand
from seqgen.hand.anatomy import joint_axes, pose_from_angles
from seqgen.hand.fit import (
    HINGES,
    SHIPPED,
    SIDEWAYS_WEIGHT,
    SIZE_WEIGHT,
    TWIST_WEIGHT,
    PoseEncoder,
    bone_directions,
    direction_errors_rad,
    encoder_of,
    load_encoder,
    model_from_hand,
    pose_statistics,
    read_encoder,
    train_encoder,
    write_encoder,
)
from seqgen.hand.layer import HandLayer
from seqgen.hand.model import rest_joints_m
from seqgen.skeleton import CANONICAL_FROM_MANO, FINGER_BONES, hand_frame

HAND = load_hand("open")
LAYER = HandLayer(HAND)
AXES = joint_axes(HAND)
MEAN_SHAPE = np.zeros(10, np.float32)


def hands_of(rotations, betas=None):
    """Joints in the hand frame, 95 mm palm, of hands with these finger rotations, float32."""
    pose = torch.cat([torch.zeros(len(rotations), 1, 3), torch.as_tensor(rotations, dtype=torch.float32)], 1)
    betas = torch.zeros(len(rotations), 10) if betas is None else torch.as_tensor(betas)
    joints = LAYER.joints(pose, betas).double().numpy()
    return torch.as_tensor(hand_frame(joints).normalise(joints), dtype=torch.float32)


def loss_of(rotations, target):
    to_hand = torch.as_tensor(model_from_hand(LAYER, MEAN_SHAPE), dtype=torch.float32)
    return float(fit_module._loss(torch.as_tensor(rotations, dtype=torch.float32), target, LAYER, to_hand, torch.as_tensor(AXES[1:], dtype=torch.float32)))


def bent(angle_rad, axis, joints=range(1, 16), num=2):
    """Finger rotations (num, 15, 3) that turn these MANO joints about their own twist (0), flexion (1) or abduction (2) axis."""
    angles = np.zeros((num, 16, 3))
    angles[:, list(joints), axis] = angle_rad
    return pose_from_angles(AXES, angles)[:, 1:]


@pytest.mark.parametrize("seed", range(3))
def test_model_from_hand_carries_the_rest_pose_into_the_hand_frame(seed):
    betas = np.random.default_rng(seed).standard_normal(10).astype(np.float32)
    rotation = model_from_hand(LAYER, betas)
    rest = LAYER.joints(torch.zeros(1, 16, 3), torch.as_tensor(betas)[None])[0].double().numpy()
    in_hand = (rest - rest[0]) @ rotation
    np.testing.assert_allclose(rotation.T @ rotation, np.eye(3), atol=1e-12)
    assert np.linalg.det(rotation) == pytest.approx(1)
    np.testing.assert_allclose(in_hand[9], [0, np.linalg.norm(rest[9] - rest[0]), 0], atol=1e-9)
    assert in_hand[4, 0] < 0  # a right hand's thumb
    assert in_hand[5, 0] < 0 < in_hand[17, 0]


def test_model_from_hand_of_the_mean_shape_is_the_models_own_hand_frame():
    np.testing.assert_allclose(model_from_hand(LAYER, MEAN_SHAPE), hand_frame(rest_joints_m(HAND)[None].astype(float)).axes[0], atol=1e-6)


def test_bone_directions_know_neither_place_nor_size():
    joints = torch.as_tensor(built_in_bank().joints_m[:50].copy())
    directions = bone_directions(joints)
    torch.testing.assert_close(directions.norm(dim=-1), torch.ones(50, 15))
    torch.testing.assert_close(bone_directions(7 * joints + 0.3), directions, atol=1e-4, rtol=0)
    turn = torch.linalg.qr(torch.randn(3, 3, generator=torch.Generator().manual_seed(0)))[0]
    torch.testing.assert_close(bone_directions(joints @ turn), directions @ turn, atol=1e-5, rtol=0)


def test_the_loss_of_the_hands_own_joints_is_the_price_of_size_alone():
    """Hinges that only flex, and MCPs that also spread: nothing to pay but the small price of any rotation."""
    for rotations in (bent(0.0, 1), bent(0.5, 1), bent(0.5, 1) + bent(0.2, 2, joints=[joint for joint in range(1, 16) if joint not in HINGES])):
        assert loss_of(rotations, hands_of(rotations)) == pytest.approx(SIZE_WEIGHT * (rotations**2).mean(), abs=2e-6)


def test_twisting_and_bending_hinges_sideways_has_its_price():
    size = SIZE_WEIGHT * 0.3**2 / 3
    twisted, sideways = bent(0.3, 0), bent(0.3, 2, joints=HINGES)
    assert loss_of(twisted, hands_of(twisted)) == pytest.approx(TWIST_WEIGHT * 0.3**2 + size, rel=1e-3)
    assert loss_of(sideways, hands_of(sideways)) == pytest.approx(SIDEWAYS_WEIGHT * 0.3**2 + size * len(HINGES) / 15, rel=1e-3)


def test_the_loss_does_not_know_how_long_bones_are():
    rotations, target = bent(0.4, 1), hands_of(bent(0.1, 1))
    lengthened = target.clone()
    rng = np.random.default_rng(0)
    for parent, joint in FINGER_BONES:
        lengthened[:, joint] = lengthened[:, parent] + float(rng.uniform(0.5, 2)) * (target[:, joint] - target[:, parent])
    assert loss_of(rotations, lengthened) == pytest.approx(loss_of(rotations, target), rel=1e-5)
    assert loss_of(rotations, target) > 0.01


def still_encoder():
    """An encoder that leaves every hand at rest."""
    encoder = PoseEncoder()
    for parameter in encoder.parameters():
        torch.nn.init.zeros_(parameter)
    return encoder.requires_grad_(False)


@pytest.mark.parametrize("degrees", [0.0, 10.0, 60.0])
def test_direction_errors_are_the_angles_that_are_missing(degrees):
    """Targets bend the MCP of one finger: its three bones are off by that angle, the others by none."""
    index_mcp = CANONICAL_FROM_MANO[5]
    targets = hands_of(bent(np.radians(degrees), 1, joints=[index_mcp]))
    errors = np.degrees(direction_errors_rad(still_encoder(), HAND, targets.numpy()))
    expected = [degrees if 5 <= joint <= 8 else 0.0 for _, joint in FINGER_BONES]
    np.testing.assert_allclose(errors, np.tile(expected, (2, 1)), atol=0.2)  # the axis of a bend is not quite square to the bones


@pytest.fixture(scope="module")
def few():
    return built_in_bank().joints_m[::20]


def test_an_encoder_learns_a_small_bank_by_heart(few):
    losses = []
    encoder = train_encoder(HAND, few, num_steps=150, progress=lambda step, loss: losses.append((step, loss)))
    assert [step for step, _ in losses] == list(range(1, 151))
    assert losses[-1][1] < losses[0][1] / 10
    assert np.degrees(direction_errors_rad(encoder, HAND, few)).mean() < 3


def weights(encoder):
    return {name: tensor.clone() for name, tensor in encoder.state_dict().items()}


def same(a, b):
    return all(torch.equal(a[name], b[name]) for name in a)


def test_training_has_the_same_bits_whatever_the_threads_and_leaves_them_alone(few):
    before = torch.get_num_threads()
    try:
        made = []
        for threads in (1, 2):
            torch.set_num_threads(threads)
            made.append(weights(train_encoder(HAND, few, num_steps=5)))
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    assert same(*made)
    assert not same(made[0], weights(train_encoder(HAND, few, num_steps=5, seed=1)))


def test_training_may_go_on_from_another_encoder_and_leaves_it_alone(few):
    start = train_encoder(HAND, few, num_steps=20)
    before = weights(start)
    further = train_encoder(HAND, few, num_steps=40, start=start)
    assert same(weights(start), before)
    assert direction_errors_rad(further, HAND, few).mean() < direction_errors_rad(start, HAND, few).mean()


def test_an_encoder_comes_back_from_its_file(tmp_path, few):
    encoder = train_encoder(HAND, few, num_steps=2)
    write_encoder(encoder, tmp_path / "deep" / "encoder.safetensors")
    back = read_encoder(tmp_path / "deep" / "encoder.safetensors")
    assert same(weights(back), weights(encoder))
    joints = torch.as_tensor(few.copy())
    assert torch.equal(back(joints), encoder(joints))
    assert not any(parameter.requires_grad for parameter in back.parameters())


def test_seven_layers_are_the_official_scripts():
    """63-256-512-1024-512-256-128-out, batch normalisation and tanh on the first six, tanh on the last; 1,370,647 parameters with its 23 outputs."""
    encoder = PoseEncoder(7)
    outputs = 45 - 23
    assert sum(parameter.numel() for parameter in encoder.parameters()) == 1_370_647 + outputs * (128 + 1)
    assert [layer.out_features for layer in encoder.layers] == [256, 512, 1024, 512, 256, 128, 45] and len(encoder.norms) == 6
    far = encoder.eval()(1e6 * torch.ones(2, 21, 3)).detach()
    assert far.abs().max() <= fit_module.SCRIPT_RANGE_RAD


def test_seven_layers_learn_and_come_back_and_know_rows_alone(tmp_path, few):
    encoder = train_encoder(HAND, few, num_steps=100, layers=7)
    assert np.degrees(direction_errors_rad(encoder, HAND, few)).mean() < 12
    write_encoder(encoder, tmp_path / "seven.safetensors")
    back, joints = read_encoder(tmp_path / "seven.safetensors"), torch.as_tensor(few[:20].copy())
    assert torch.equal(back(joints), encoder(joints)) and not back.training
    torch.testing.assert_close(back(joints[3:4]), back(joints)[3:4], atol=1e-5, rtol=0)
    state = {name: torch.as_tensor(tensor.numpy()) for name, tensor in encoder.state_dict().items()}
    assert torch.equal(encoder_of(state)(joints), encoder(joints))


def test_seven_layers_are_trained_anew_and_kept_apart(tmp_path, monkeypatch):
    monkeypatch.setattr(fit_module, "NUM_STEPS", 3)
    bank = bank_of(random_curls(50))
    made = {layers: load_encoder(HAND, bank.name, bank.digest, bank.joints_m, tmp_path, layers=layers) for layers in (4, 7)}
    assert [len(made[layers].layers) for layers in (4, 7)] == [4, 7] and len(list(tmp_path.iterdir())) == 2
    assert len(load_encoder(HAND, "built-in", "x" * 64, bank.joints_m, tmp_path, layers=7).layers) == 7


def test_the_shipped_encoder_fits_hands_it_has_not_seen():
    """Rows of another seed than the shipped bank's; and, through the hand, other shapes point their bones the same way."""
    rows = built_in_bank().joints_m[::3]
    errors = np.degrees(direction_errors_rad(read_encoder(SHIPPED), HAND, rows))
    assert errors.mean() < 3 and np.quantile(errors, 0.99) < 15
    rotations = read_encoder(SHIPPED)(torch.as_tensor(rows.copy()))
    betas = np.random.default_rng(0).standard_normal((len(rows), 10)).astype(np.float32)
    cosine = (bone_directions(hands_of(rotations, betas)) * bone_directions(torch.as_tensor(rows.copy()))).sum(-1)
    assert np.degrees(np.arccos(cosine.clamp(-1, 1).numpy())).mean() < 8


def test_the_built_in_bank_takes_the_shipped_encoder_and_others_are_trained_once(tmp_path, monkeypatch):
    shipped = weights(read_encoder(SHIPPED))
    assert same(weights(load_encoder(HAND, "built-in", "x" * 64, built_in_bank().joints_m, tmp_path)), shipped)
    assert list(tmp_path.iterdir()) == []

    monkeypatch.setattr(fit_module, "NUM_STEPS", 12)
    bank = bank_of(random_curls(50))
    first = weights(load_encoder(HAND, bank.name, bank.digest, bank.joints_m, tmp_path))
    assert not same(first, shipped) and len(list(tmp_path.iterdir())) == 1
    monkeypatch.setattr(fit_module, "train_encoder", None)
    assert same(weights(load_encoder(HAND, bank.name, bank.digest, bank.joints_m, tmp_path)), first)
    with pytest.raises(TypeError):
        load_encoder(HAND, bank.name, "another digest", bank.joints_m, tmp_path)


def test_pose_statistics_are_those_of_numpy():
    rng = np.random.default_rng(0)
    poses = rng.standard_normal((300, 45)) @ rng.standard_normal((45, 45)) + 3
    mean, components = pose_statistics(poses)
    np.testing.assert_allclose(mean, poses.mean(0))
    np.testing.assert_allclose(components @ components.T, np.eye(45), atol=1e-10)
    spread = np.diag(components @ np.cov(poses.T) @ components.T)
    np.testing.assert_allclose(spread, np.sort(np.linalg.eigvalsh(np.cov(poses.T)))[::-1], rtol=1e-6, atol=1e-9)
    assert pose_statistics(poses[:5])[1].shape == (45, 45)
