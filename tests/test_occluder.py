"""Things in the way: solids against closed forms, passing things against the hand they pass, held ones against the hand that holds them, and users' meshes."""

from dataclasses import replace
from functools import lru_cache

import numpy as np
import pytest
import torch
import trimesh
from PIL import Image
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from seqgen.camera import Camera, intrinsics_from_fov
from seqgen.errors import UserError
from seqgen.geometry import axis_angle_from_matrix, rigid_alignment
from seqgen.hand import OPEN_HAND, load_hand
from seqgen.hand.fit import model_from_hand, read_encoder
from seqgen.hand.layer import HandLayer
from seqgen.scene.scene import plain_material, single_part_surface
from seqgen.scene.things.flesh import FLESH_M as FLESH_AROUND_M
from seqgen.scene.things.flesh import PALM_FLESH_M, SAMPLES, bone_points
from seqgen.scene.things.grip import RADIUS_M, TOUCH_M, WOBBLE_M, WOBBLE_RAD, find_grip
from seqgen.scene.things.meshes import MAX_FACES, list_meshes, load_mesh
from seqgen.scene.things.occluder import HAND_NEARER, LEAST_RADIUS_M, SIDE_M, OccluderConfig, draw_occluder, occluder_surface
from seqgen.scene.things.passing import BEND, CLEAR_M, FLESH_M, GAP_M, NEAREST_M, SPEED_M_S, _beside, room_behind
from seqgen.scene.things.pattern import OBJECT_TILE_M
from seqgen.scene.things.pinch import RADIUS_M as PINCHED_RADIUS_M
from seqgen.scene.things.pinch import find_pinch
from seqgen.scene.things.second_hand import carried_in_mirror, out_of_mirror
from seqgen.scene.things.solids import BEVEL, SOLID_KINDS, make_solid
from seqgen.skeleton import BONES, FINGER_BONES, MCPS, PART_OCCLUDER, hand_frame
from tests.banks import built_in_bank, curling_hands, random_curls

FPS = 30.0
HOLDER = 0  # a clip whose hand can hold whatever is drawn
HAND = load_hand("open")
LAYER = HandLayer(HAND)


@lru_cache
def clip(seed, *, frames=10, kind="perspective", distance_m=0.5):
    """Vertices and joints of a turning hand in a pose of the built-in bank, and a camera that sees it."""
    rng = np.random.default_rng(seed)
    bank = built_in_bank(2000)
    pose = bank.joints_m[rng.integers(len(bank))]
    with torch.no_grad():
        fingers = read_encoder(OPEN_HAND.parent / "open_encoder.safetensors")(torch.as_tensor(pose[None].astype(np.float32))).numpy()
    turns = Rotation.from_rotvec(np.linspace(0, 1, frames)[:, None] * rng.normal(0, 0.2, 3)).as_matrix() @ Rotation.from_quat(rng.standard_normal(4)).as_matrix()
    betas = np.clip(rng.standard_normal(10), -2, 2).astype(np.float32)
    root = axis_angle_from_matrix(turns @ model_from_hand(LAYER, betas).T)
    whole = torch.as_tensor(np.concatenate([root[:, None], np.repeat(fingers, frames, 0)], 1).astype(np.float32))
    with torch.no_grad():
        mesh = LAYER(whole, torch.as_tensor(betas).expand(frames, 10), torch.zeros(frames, 3))
    middle = mesh.joints_m.mean((0, 1)) - torch.tensor([0.0, 0.0, distance_m])
    matrix = intrinsics_from_fov(0.5, (224, 224)) if kind == "perspective" else np.array([[700.0, 0, 112], [0, 700, 112], [0, 0, 1]])
    return (mesh.vertices_m - middle).numpy(), (mesh.joints_m - middle).double().numpy(), Camera(kind, np.repeat(matrix[None], frames, 0), (224, 224))


def drawn(seed, *, kind="perspective", meshes=(), distance_m=0.5, frames=10, **config):
    """What is in the way of clip `seed`, with the clip."""
    vertices, joints, camera = clip(seed, kind=kind, distance_m=distance_m, frames=frames)
    occluder = draw_occluder(OccluderConfig(**{"share": 1.0, **config}), joints_m=joints, camera=camera, fps=FPS, meshes=meshes, rng=np.random.default_rng(1000 + seed))
    return vertices, joints, camera, occluder


def mesh_of(surface, frame=0):
    mesh = trimesh.Trimesh(surface.vertices_m[frame], surface.faces, process=False)
    mesh.merge_vertices(merge_tex=True, merge_norm=True)
    return mesh


# --- solids ---

HALF = np.array([0.02, 0.026, 0.05])


def swollen(volume, area, mean_curvature, r):
    """Steiner's formula: the volume of a convex body swollen by a ball of radius r."""
    return volume + area * r + mean_curvature * r**2 + 4 / 3 * np.pi * r**3


def volume_of(kind):
    a, b, c = HALF
    if kind == "ellipsoid":
        return 4 / 3 * np.pi * a * b * c
    if kind == "capsule":
        return swollen(0, 0, 2 * np.pi * (c - a), a) * b / a
    r = BEVEL * a
    x, y, z = 2 * (HALF - r)
    if kind == "box":
        return swollen(x * y * z, 2 * (x * y + y * z + z * x), np.pi * (x + y + z), r)
    return swollen(np.pi * x**2 / 4 * z, np.pi * x * (x / 2 + z), np.pi * (z + np.pi * x / 2), r) * b / a


@pytest.mark.parametrize("kind", SOLID_KINDS)
def test_solids_are_closed_outside_out_and_as_large_as_asked(kind):
    solid = make_solid(kind, HALF)
    mesh = trimesh.Trimesh(solid.vertices_m.astype(float), solid.faces, process=False)
    assert mesh.is_watertight and mesh.is_winding_consistent and mesh.is_volume
    assert 0.965 * volume_of(kind) < mesh.volume < volume_of(kind)  # vertices are on the body, so it is cut, never more
    np.testing.assert_allclose(np.abs(mesh.bounds), [HALF, HALF], rtol=1e-5)
    assert len(solid.faces) < 700 and mesh.area_faces.min() > 1e-9


@pytest.mark.parametrize("kind", SOLID_KINDS)
def test_normals_of_solids_are_where_the_body_ends(kind):
    """Of a convex body no point is farther along the normal of a surface point than that point."""
    solid = make_solid(kind, HALF)
    vertices, normals = solid.vertices_m.astype(float), solid.normals.astype(float)
    np.testing.assert_allclose(np.linalg.norm(normals, axis=1), 1, atol=1e-6)
    assert ((vertices @ normals.T).max(0) - (vertices * normals).sum(1)).max() < 1e-7


@pytest.mark.parametrize("kind", SOLID_KINDS)
def test_textures_of_solids_are_read_from_outside_in_natural_size_and_wrap_without_seam(kind):
    solid = make_solid(kind, HALF)
    u, v = (solid.corner_uv[:, corner] - solid.corner_uv[:, 0] for corner in (1, 2))
    uv_areas = (u[:, 0] * v[:, 1] - u[:, 1] * v[:, 0]) / 2 * OBJECT_TILE_M**2
    areas = trimesh.Trimesh(solid.vertices_m, solid.faces, process=False).area_faces
    ratio = uv_areas / areas
    assert ratio.min() > 0.3 and ratio.max() < 1.7  # positive: no mirror writing
    per_vertex = {}
    for vertex, uv in zip(solid.faces.ravel(), solid.corner_uv.reshape(-1, 2), strict=True):
        per_vertex.setdefault(vertex, []).append(uv)
    jumps = sum(len({tuple(np.round(np.asarray(uv) % 1.0, 3) % 1.0) for uv in uvs}) > 1 for uvs in per_vertex.values())
    assert jumps <= len(per_vertex) * (0.5 if kind in ("box", "cylinder") else 0.25)  # only where wrapped and laid-on faces meet


def test_scaling_keeps_the_pattern_in_natural_size():
    solid = make_solid("box", HALF)
    larger = solid.scaled(2.0)
    np.testing.assert_allclose(larger.corner_uv, 2 * solid.corner_uv)
    assert larger.radius_m() == pytest.approx(2 * solid.radius_m())
    pictured = replace(solid, material=plain_material())
    np.testing.assert_array_equal(pictured.scaled(2.0).corner_uv, solid.corner_uv)


# --- passing ---


@pytest.mark.parametrize("kind", ["perspective", "weak_perspective"])
@pytest.mark.parametrize("distance_m", [0.28, 0.5, 1.0])
def test_what_passes_is_before_the_hand_and_not_at_the_camera(kind, distance_m):
    for seed in range(20):
        vertices, joints, _, occluder = drawn(seed, kind=kind, distance_m=distance_m, held=0.0, hand=0.0)
        if occluder is None:
            assert joints[..., 2].min() < NEAREST_M + FLESH_M + GAP_M[0] + 2 * LEAST_RADIUS_M + 0.01
            continue
        depth = occluder_surface(occluder).vertices_m[..., 2]
        assert depth.max() <= joints[..., 2].min() - FLESH_M - GAP_M[0] + 1e-6
        assert depth.max() < vertices[..., 2].min()  # of the skin itself
        assert depth.min() >= NEAREST_M - 1e-6
        assert 2 * LEAST_RADIUS_M < 2 * occluder.solid.radius_m() < np.sqrt(3) * SIDE_M[1]


def test_ways_are_parabolas_at_natural_speeds():
    for seed in range(30):
        *_, occluder = drawn(seed, held=0.0)
        velocity = np.diff(occluder.middles_m, axis=0) * FPS
        bends = np.diff(velocity, axis=0) * FPS
        np.testing.assert_allclose(bends, bends[:1].repeat(len(bends), 0), atol=1e-6)
        speed = np.linalg.norm(velocity, axis=1)
        assert (1 - BEND) * SPEED_M_S[0] <= speed.min() and speed.max() <= (1 + BEND) * SPEED_M_S[1]
        assert np.linalg.norm(bends[0]) * (len(velocity) / FPS) <= BEND * SPEED_M_S[1] + 1e-6


def test_turning_is_even():
    for seed in range(10):
        *_, occluder = drawn(seed, held=0.0, hand=0.0)
        steps = occluder.rotations[1:] @ occluder.rotations[:-1].transpose(0, 2, 1)
        np.testing.assert_allclose(steps, steps[:1].repeat(len(steps), 0), atol=1e-9)
        assert Rotation.from_matrix(steps[0]).magnitude() * FPS < 4.0


def test_at_most_the_asked_share_of_the_outline_is_hidden_and_something_is():
    rng = np.random.default_rng(0)
    for _ in range(300):
        places, radius, cover = rng.normal(0, 50, 21), np.exp(rng.uniform(0, 6)), rng.uniform(0.05, 1)
        middle = _beside(places, radius, cover, rng)
        hidden = min(middle + radius, places.max()) - max(middle - radius, places.min())
        assert 0 < hidden <= cover * np.ptp(places) + 1e-6


def test_things_do_get_in_the_way():
    touched = []
    for seed in range(60):
        _, joints, camera, occluder = drawn(seed, held=0.0, hand=0.0)
        radius_px = camera.intrinsics[0, 0, 0] * occluder.solid.radius_m() / occluder.middles_m[:, 2]
        away = np.linalg.norm(camera.project(joints) - camera.project(occluder.middles_m[:, None]), axis=-1)
        touched.append((away < radius_px[:, None]).any())
    assert np.mean(touched) > 0.6


# --- held ---


@lru_cache
def held_clips():
    found = [drawn(seed, held=1.0) for seed in range(100)]
    return [clip for clip in found if clip[3].manner == "held"]


def in_hand(joints, points):
    frame = hand_frame(joints)
    return np.einsum("tvj,tjf->tvf", points - frame.wrist[:, None], frame.axes)


def depth_in(occluder, points):
    """How deep points (frames, points, 3) are in a convex thing: (frames, points), metres, negative outside."""
    triangles = occluder.solid.vertices_m[occluder.solid.faces].astype(float)
    outwards = np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0])
    real = np.linalg.norm(outwards, axis=1) > 1e-12  # a capsule as wide as it is long has none along its side
    triangles, outwards = triangles[real], outwards[real] / np.linalg.norm(outwards[real], axis=1, keepdims=True)
    local = np.einsum("tvj,tjk->tvk", points - occluder.middles_m[:, None], occluder.rotations)
    return ((outwards * triangles[:, 0]).sum(1) - local @ outwards.T).min(2)


def test_many_hands_can_hold_something():
    assert len(held_clips()) > 25


def test_a_held_thing_follows_the_hand():
    for _, joints, _, occluder in held_clips():
        middles = in_hand(joints, occluder.middles_m[:, None])[:, 0]
        assert np.linalg.norm(middles - middles[0], axis=1).max() <= 2 * WOBBLE_M
        relative = hand_frame(joints).axes.transpose(0, 2, 1) @ occluder.rotations
        assert Rotation.from_matrix(relative[0].T @ relative).magnitude().max() <= 2 * WOBBLE_RAD
        assert np.abs(np.diff(middles, 2, axis=0)).max() < 2e-4  # smoothly


def test_a_held_thing_is_touched_from_opposite_sides():
    """Skin lies on it on two sides, seen along its axis: the palm and the tips of fingers that come back over it, or two pads. An open hand has but the palm."""
    for vertices, _, _, occluder in held_clips():
        touching = vertices[5:6][:, depth_in(occluder, vertices)[5] > -TOUCH_M]
        sides = np.einsum("vj,jk->vk", touching[0] - occluder.middles_m[5], occluder.rotations[5])[:, :2]
        sides /= np.linalg.norm(sides, axis=1, keepdims=True)
        assert (sides @ sides.T).min() < -0.7


def test_a_held_thing_hardly_sinks_into_the_skin():
    deepest = [depth_in(occluder, vertices).max() for vertices, _, _, occluder in held_clips()]
    assert np.median(deepest) < 0.0025 and np.quantile(deepest, 0.9) < 0.005 and max(deepest) < 0.007


def grips():
    """Hands that curl anyhow, with what they hold."""
    found = [(joints, find_grip(joints[None], np.random.default_rng(seed))) for seed, joints in enumerate(random_curls(120, high=1.6))]
    return [(joints, grip) for joints, grip in found if grip is not None]


def test_room_in_a_palm_ends_at_a_finger():
    before, after = np.array(FINGER_BONES).T
    assert len(grips()) > 40
    for joints, grip in grips():
        axis, middle = grip.axes[:, 2], grip.middle_m(grip.radius_m)
        margins = []
        for share in SAMPLES:
            offset = joints[before] + share * (joints[after] - joints[before]) - middle
            flesh = FLESH_AROUND_M[before] + share * (FLESH_AROUND_M[after] - FLESH_AROUND_M[before])
            away = np.linalg.norm(offset - np.outer(offset @ axis, axis), axis=1) - flesh - grip.radius_m
            margins.extend(away[np.abs(offset @ axis) <= grip.half_length_m + flesh])
        assert -1e-9 < min(margins) < 1e-6
        assert RADIUS_M[0] <= grip.radius_m <= RADIUS_M[1]


def test_room_in_a_palm_is_off_its_flesh_and_under_bent_fingers():
    """The circle touches the palm; two fingers or more have a point beyond its middle and near it, and reach farther along the palm than it does."""
    for joints, grip in grips():
        knuckles, middle = joints[list(MCPS), 2].min(), grip.middle_m(grip.radius_m)
        assert middle[2] + grip.radius_m == pytest.approx(knuckles - PALM_FLESH_M, abs=1e-9)
        slanted = (joints - middle) @ grip.axes  # x along the palm, y off its back, z along the thing
        over = [
            (finger[1:, 1] < 0).any() and (np.hypot(finger[1:, 0], finger[1:, 1]) < grip.radius_m + 0.02).any() and finger[:, 0].max() > 0.8 * grip.radius_m
            for finger in (slanted[mcp : mcp + 4] for mcp in MCPS)
        ]
        assert sum(over) >= 2


def test_an_open_hand_holds_nothing_and_a_fist_less_than_a_bent_hand():
    hands = curling_hands(np.array([0.1, 0.9, 1.5]), np.array([0.1, 1.2, 1.8]))
    opened, bent, fist = ([find_grip(hand[None], np.random.default_rng(seed)) for seed in range(30)] for hand in hands)
    assert not any(opened) and sum(grip is not None for grip in bent) > 20
    assert max((grip.radius_m for grip in fist if grip), default=0.0) < min(grip.radius_m for grip in bent if grip)


@lru_cache
def pinches():
    found = [(clip(seed)[1], find_pinch(clip(seed)[1], hand_frame(clip(seed)[1]), np.random.default_rng(seed))) for seed in range(150)]
    return [(joints, pinch) for joints, pinch in found if pinch is not None]


def test_a_pinched_thing_fits_between_thumb_and_finger_and_clears_every_bone():
    assert len(pinches()) > 5
    for joints, pinch in pinches():
        points, flesh = bone_points(joints, BONES)
        for frame in (0, 5, 9):
            offset = (points[frame] - pinch.middles_m[frame]) @ pinch.axes[frame]
            beyond = np.maximum(np.abs(offset[:, 2]) - pinch.half_length_m, 0)
            assert (np.linalg.norm([offset[:, 0], offset[:, 1], beyond], axis=0) - flesh).min() >= pinch.radius_m - 1e-9
            assert (offset[np.abs(offset[:, 2]) < pinch.half_length_m, 1] > 0).any() and (offset[np.abs(offset[:, 2]) < pinch.half_length_m, 1] < 0).any()
        assert PINCHED_RADIUS_M[0] <= pinch.radius_m <= PINCHED_RADIUS_M[1]
        np.testing.assert_allclose(pinch.axes @ pinch.axes.transpose(0, 2, 1), np.eye(3)[None].repeat(10, 0), atol=1e-9)
        assert (np.linalg.det(pinch.axes) > 0).all()


def test_a_pinch_turns_and_moves_with_the_hand():
    turn, shift = Rotation.from_rotvec([0.3, -1.0, 0.5]).as_matrix(), np.array([0.1, -0.2, 0.3])
    for joints, _ in pinches():
        pinch, moved = (find_pinch(hand, hand_frame(hand), np.random.default_rng(0)) for hand in (joints, joints @ turn.T + shift))
        assert (pinch is None) == (moved is None)
        if pinch is not None:
            np.testing.assert_allclose(moved.middles_m, pinch.middles_m @ turn.T + shift, atol=1e-9)
            np.testing.assert_allclose(moved.axes, turn @ pinch.axes, atol=1e-9)
            assert moved.radius_m == pytest.approx(pinch.radius_m)


def test_nothing_is_pinched_where_pads_come_apart_or_the_thumb_is_behind():
    joints, _ = pinches()[0]
    opening = joints.copy()
    opening[:, 3:5] += np.linspace(0, 0.02, 10)[:, None, None] * (joints[:, 4:5] - joints[:, 8:9]) / np.linalg.norm(joints[:, 4:5] - joints[:, 8:9], axis=2, keepdims=True)
    behind = joints.copy()
    behind[:, 1:5] += 0.15 * hand_frame(joints).axes[:, None, :, 2]
    for hand in (opening, behind):
        assert find_pinch(hand, hand_frame(hand), np.random.default_rng(0)) is None


# --- how often ---


def test_shares_are_as_asked():
    _, joints, camera = clip(HOLDER)
    kinds, manners = [], []
    for seed in range(600):
        occluder = draw_occluder(OccluderConfig(), joints_m=joints, camera=camera, fps=FPS, rng=np.random.default_rng(seed))
        kinds.append(occluder.kind if occluder else None)
        manners.append(occluder.manner if occluder else None)
    present = 600 - kinds.count(None)
    assert abs(present / 600 - 0.3) < 3 * np.sqrt(0.3 * 0.7 / 600)
    assert abs(manners.count("held") / present - 0.4) < 3 * np.sqrt(0.4 * 0.6 / present)
    passing = manners.count("passing")
    assert abs(kinds.count("hand") / passing - 0.25) < 3 * np.sqrt(0.25 * 0.75 / passing)
    assert all(kinds.count(kind) > 0.1 * present for kind in SOLID_KINDS)


def test_a_share_of_nothing_is_nothing_and_draws_repeat():
    assert drawn(1, share=0.0)[3] is None
    first, again = drawn(1)[3], drawn(1)[3]
    assert first.kind == again.kind
    np.testing.assert_array_equal(first.middles_m, again.middles_m)
    np.testing.assert_array_equal(first.material.albedo, again.material.albedo)


def test_a_single_frame_and_a_hand_at_the_camera():
    assert drawn(0, frames=1)[3].middles_m.shape == (1, 3)
    assert drawn(0, held=0.0, distance_m=0.12)[3] is None


def test_the_surface_is_of_part_30():
    for held in (0.0, 1.0):
        surface = occluder_surface(drawn(2, held=held, hand=0.0)[3])
        assert (surface.corner_parts == PART_OCCLUDER).all()
        for frame in (0, -1):
            assert mesh_of(surface, frame).volume > 0
            assert (np.einsum("vi,vi->v", surface.normals[frame], mesh_normals(surface, frame)) > 0.7).all()


def mesh_normals(surface, frame):
    return trimesh.Trimesh(surface.vertices_m[frame], surface.faces, process=False).vertex_normals


# --- a second hand ---


def second_hand(seed=7):
    vertices, joints, _ = clip(seed)
    upright = in_hand(joints, vertices.astype(float)).astype(np.float32)
    rng = np.random.default_rng(0)
    faces = HAND.faces.astype(np.int32)
    normals = np.stack([trimesh.Trimesh(frame, faces, process=False).vertex_normals for frame in upright]).astype(np.float32)
    surface = single_part_surface(upright, normals, faces, rng.random((len(faces), 3, 2), dtype=np.float32), plain_material(), 1)
    surface = replace(surface, corner_weights=rng.random((len(faces), 3, 3), dtype=np.float32))
    occluder = next(found for found in (drawn(seed, held=0.0, hand=1.0, distance_m=0.6)[3] for seed in range(20)) if found.kind == "hand")
    return occluder, surface, out_of_mirror(carried_in_mirror(occluder, surface))


def test_a_second_hand_is_a_left_one():
    _, right, left = second_hand()
    before, after = right.vertices_m[0].astype(float), left.vertices_m[0].astype(float)

    def misfit(points):
        rotation, translation = rigid_alignment(points, after)
        return np.abs(points @ rotation.T + translation - after).max()

    assert misfit(before * [-1, 1, 1]) < 1e-6 < 1e-3 < misfit(before)


def test_a_second_hand_is_outside_out_with_its_own_skin():
    occluder, right, left = second_hand()
    made = np.stack([trimesh.Trimesh(frame, left.faces, process=False).vertex_normals for frame in left.vertices_m])
    assert ((made * left.normals).sum(-1) > 0.999).all()
    assert (left.corner_parts == PART_OCCLUDER).all()
    for name in ("corner_uv", "corner_weights"):  # each vertex of a face keeps what it had
        kept, had = (np.take_along_axis(getattr(hand, name), np.argsort(hand.faces, 1)[..., None], 1) for hand in (left, right))
        np.testing.assert_array_equal(kept, had)
    with pytest.raises(ValueError, match="second_hand"):
        occluder_surface(occluder)


@pytest.mark.parametrize("distance_m", [0.35, 0.6])
def test_a_second_hand_passes_near_the_first_and_touches_it_not(distance_m):
    found, nearer = 0, []
    for seed in range(40):
        vertices, joints, _, occluder = drawn(seed, held=0.0, hand=1.0, distance_m=distance_m)
        if occluder.kind == "hand":
            found += 1
            left = out_of_mirror(carried_in_mirror(occluder, second_hand(seed)[1])).vertices_m
            assert left[..., 2].min() > NEAREST_M
            nearer.append(np.median(joints[..., 2]) / np.median(left[..., 2]))
            for frame in (0, 5, 9):
                first = trimesh.Trimesh(vertices[frame], HAND.faces, process=False)
                away, nearest = cKDTree(vertices[frame]).query(left[frame])
                outwards = ((left[frame] - vertices[frame][nearest]) * first.vertex_normals[nearest]).sum(1)
                assert ((outwards < 0) & (away < 0.03)).mean() < 0.01  # in the webs between bones
    assert found > 8
    assert np.median(nearer) < HAND_NEARER and min(nearer) > 0.99


def test_room_behind_is_used_up_once_taken():
    """A hand laid as deep as it may be has no room left, and is just clear of the first, or as deep."""
    for seed in range(12):
        joints, forearm = clip(seed)[1], np.full((10, 1, 3), [9.0, 9.0, 0.2])
        hand = clip(seed + 20)[1] * [1, 1, 0.5] + np.array([0.03, 0.02, -0.1])
        deeper = hand + np.array([0, 0, room_behind(hand, forearm, joints)])
        assert room_behind(deeper, forearm, joints) == pytest.approx(0, abs=1e-6)
        points, flesh = bone_points(joints, BONES)
        closest = (np.linalg.norm(points[:, :, None] - deeper[:, None], axis=3) - flesh[:, None]).min()
        assert closest > CLEAR_M - 1e-6


# --- meshes of users ---


def write(folder, name, mesh):
    mesh.export(folder / name)
    return load_mesh(list_meshes(str(folder))[0])


def signed_volume(solid):
    triangles = solid.vertices_m[solid.faces].astype(float)
    return np.einsum("fi,fi->", triangles[:, 0], np.cross(triangles[:, 1], triangles[:, 2])) / 6


@pytest.mark.parametrize("name", ["a.obj", "a.ply", "a.stl", "a.glb", "a.off"])
def test_meshes_of_all_formats(tmp_path, name):
    solid = write(tmp_path, name, trimesh.creation.box((0.8, 2.0, 1.0)).apply_translation([5, 6, 7]))
    np.testing.assert_allclose(np.ptp(solid.vertices_m, axis=0), [0.5, 0.4, 1.0], atol=1e-6)  # longest along z, turned and not mirrored
    np.testing.assert_allclose(solid.vertices_m.max(0), -solid.vertices_m.min(0), atol=1e-6)
    assert signed_volume(solid) == pytest.approx(0.2, abs=1e-6)
    assert len(solid.vertices_m) == 24 and (np.sort(np.abs(solid.normals), 1) == [0, 0, 1]).all()  # sharp edges


def test_round_meshes_are_smooth_also_across_seams_of_their_texture(tmp_path):
    ball = trimesh.creation.uv_sphere(radius=3.0, count=[24, 48])
    triangles = ball.triangles.reshape(-1, 3)  # every face by itself, as at a seam
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 255, (8, 8, 3), dtype=np.uint8))
    uv = np.random.default_rng(1).random((len(triangles), 2))
    loose = trimesh.Trimesh(triangles, np.arange(len(triangles)).reshape(-1, 3), process=False, visual=trimesh.visual.TextureVisuals(uv=uv, image=picture))
    solid = write(tmp_path, "ball.glb", loose)
    radial = solid.vertices_m / np.linalg.norm(solid.vertices_m, axis=1, keepdims=True)
    assert ((solid.normals * radial).sum(1) > 0.995).all()
    np.testing.assert_array_equal(solid.material.albedo, np.asarray(picture))
    assert len(solid.faces) == len(triangles) // 3
    np.testing.assert_allclose(solid.vertices_m[solid.faces].reshape(-1, 3), triangles / 6, atol=1e-5)  # faces in their order, each corner with its own uv
    np.testing.assert_allclose(solid.corner_uv.reshape(-1, 2), uv, atol=1e-5)


def test_vertex_colours_are_kept_in_linear_light(tmp_path):
    ball = trimesh.creation.icosphere(2)
    ball.visual.vertex_colors = np.tile([255, 128, 0, 255], (len(ball.vertices), 1))
    solid = write(tmp_path, "ball.ply", ball)
    np.testing.assert_allclose(solid.colours, np.tile([1.0, 0.21586, 0.0], (len(solid.colours), 1)), atol=1e-4)
    assert solid.material is not None


def test_a_mesh_that_is_inside_out_is_turned(tmp_path):
    ball = trimesh.creation.icosphere(2)
    ball.invert()
    solid = write(tmp_path, "ball.stl", ball)
    assert signed_volume(solid) > 0 and ((solid.normals * solid.vertices_m).sum(1) > 0).all()


def test_meshes_are_drawn_in_place_of_solids(tmp_path):
    trimesh.creation.torus(0.05, 0.02).export(tmp_path / "ring.stl")
    trimesh.creation.annulus(0.03, 0.04, 0.1).export(tmp_path / "tube.ply")
    (tmp_path / "notes.txt").write_text("no mesh")
    meshes = list_meshes(str(tmp_path))
    assert [mesh.name for mesh in meshes] == ["ring.stl", "tube.ply"]
    found = [drawn(seed, meshes=meshes, hand=0.0, held=0.8)[3] for seed in range(30)]
    assert {occluder.kind for occluder in found} == {"ring.stl", "tube.ply"}
    assert {occluder.manner for occluder in found} == {"held", "passing"}
    for occluder in found:
        assert mesh_of(occluder_surface(occluder)).volume > 0


BALL = trimesh.creation.icosphere(1)
HOLED = trimesh.Trimesh(BALL.vertices, BALL.faces[1:], process=False)
FLIPPED = trimesh.Trimesh(BALL.vertices, np.concatenate([BALL.faces[:1, ::-1], BALL.faces[1:]]), process=False)
FLAT = trimesh.Trimesh(BALL.vertices * [1, 1, 0], BALL.faces, process=False)


@pytest.mark.parametrize(
    ("mesh", "said"),
    [(HOLED, "holes"), (FLIPPED, "inside out"), (FLAT, "flat"), (trimesh.Trimesh(BALL.vertices * np.nan, BALL.faces, process=False), "not finite")],
    ids=["holes", "flipped", "flat", "nan"],
)
def test_bad_meshes_are_named_with_what_to_do(tmp_path, mesh, said):
    with pytest.raises(UserError, match=said) as caught:
        write(tmp_path, "bad.off", mesh)
    assert str(tmp_path / "bad.off") in str(caught.value) and "occluder.folder" in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [("a.obj", "v 0 0 0\nv 1 0 0\n", "faces|read"), ("a.obj", "", "faces|read"), ("a.ply", "rubbish", "read"), ("a.glb", "rubbish", "read"), ("a.off", "OFF\n3 1 0\n", "read")],
)
def test_unreadable_files_are_named(tmp_path, name, content, said):
    (tmp_path / name).write_text(content)
    with pytest.raises(UserError, match=said) as caught:
        load_mesh(list_meshes(str(tmp_path))[0])
    assert "\n" not in str(caught.value)


def test_too_many_faces_are_refused(tmp_path):
    fine = trimesh.creation.icosphere(6)
    assert len(fine.faces) > MAX_FACES
    with pytest.raises(UserError, match="simplify"):
        write(tmp_path, "fine.stl", fine)


def test_a_folder_without_meshes_is_refused(tmp_path):
    with pytest.raises(UserError, match="no mesh in"):
        list_meshes(str(tmp_path))
    with pytest.raises(UserError, match="no folder"):
        list_meshes(str(tmp_path / "none"))
