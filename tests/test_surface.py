"""A hand's surface and the dome over its wrist, against trimesh and closed forms."""


import numpy as np
import pytest
import torch
import trimesh
from scipy.spatial.transform import Rotation

from seqgen.hand import load_hand
from seqgen.hand.layer import HandLayer
from seqgen.scene.arm.arm import _judged_frames, arm_template
from seqgen.scene.arm.tube import tube
from seqgen.scene.arm.wrist import _corner_uv, dome_faces, dome_surface, oriented_loop
from seqgen.scene.scene import join_surfaces, plain_material
from seqgen.scene.surface import corners_of_vertex, surface_template, vertex_normals
from seqgen.scene.surroundings.textures import _place
from seqgen.skeleton import TIPS

HAND = load_hand("open")
LAYER = HandLayer(HAND)
TEMPLATE = surface_template(HAND, HAND.uv[HAND.uv_faces])
WHITE = np.ones_like(HAND.template_m)
LOOP, ARM = oriented_loop(HAND.wrist_loop, HAND.faces), arm_template(HAND)


def closed(vertices_m, *, loop=LOOP, colours=WHITE):
    """The hand with its dome."""
    hand = TEMPLATE.surface(vertices_m, plain_material(), colours)
    return join_surfaces([hand, dome_surface(hand, loop, plain_material())])


def posed(num, seed=0):
    """Hands in moderate poses of several shapes: vertices and joints."""
    generator = torch.Generator().manual_seed(seed)
    pose = 0.25 * torch.randn(num, 16, 3, generator=generator)
    pose[:, 0] = 2 * torch.randn(num, 3, generator=generator)
    mesh = LAYER(pose, torch.randn(num, 10, generator=generator), torch.randn(num, 3, generator=generator))
    return mesh.vertices_m.numpy(), mesh.joints_m.numpy()


def mesh_of(surface, frame=0):
    return trimesh.Trimesh(surface.vertices_m[frame], surface.faces, process=False)


def welded(surface, frame=0):
    """The mesh with vertices at one place made one: the dome repeats the hand's rim."""
    mesh = mesh_of(surface, frame)
    mesh.merge_vertices()
    return mesh


def test_normals_are_the_area_weighted_mean_of_the_faces_around():
    surface = TEMPLATE.surface(posed(3)[0], plain_material(), WHITE)
    for frame in range(3):
        mesh = mesh_of(surface, frame)
        mean = mesh.faces_sparse @ (mesh.face_normals * mesh.area_faces[:, None])
        np.testing.assert_allclose(surface.normals[frame], mean / np.linalg.norm(mean, axis=1, keepdims=True), atol=2e-4)
        by_angle = (surface.normals[frame] * mesh.vertex_normals).sum(1)  # another weighting of the same faces
        assert np.quantile(by_angle, 0.05) > 0.98


@pytest.mark.parametrize("wrong", [len(HAND.template_m), -1])
def test_a_face_of_a_vertex_that_is_not_there_is_refused_where_faces_are_taken_in(wrong):
    faces = HAND.faces.copy()
    faces[7, 1] = wrong
    with pytest.raises(ValueError, match="index"):
        corners_of_vertex(faces, len(HAND.template_m))


def test_normals_of_fewer_vertices_than_the_faces_have():
    vertices_m = HAND.template_m[None].astype(np.float32)
    with pytest.raises(IndexError):
        vertex_normals(vertices_m[:, :-1], HAND.faces, TEMPLATE.corners_of_vertex)


def test_normals_are_those_of_adding_face_after_face_to_the_bit():
    """The slow twin: every face's vector product is added to its three corners, in the order of faces; and a frame alone has the same bits."""
    vertices_m, faces = posed(3)[0], HAND.faces
    a, b, c = (vertices_m[:, faces[:, corner]] for corner in range(3))
    sums = np.zeros_like(vertices_m)
    np.add.at(sums, (slice(None), faces.reshape(-1)), np.cross(b - a, c - a).repeat(3, 1))
    slow = sums / np.maximum(np.sqrt((sums * sums).sum(-1, keepdims=True)), np.float32(1e-12))
    normals = TEMPLATE.surface(vertices_m, plain_material(), WHITE).normals
    np.testing.assert_array_equal(normals, slow)
    assert normals.dtype == np.float32 and normals.flags.c_contiguous
    for frame in range(3):
        alone = TEMPLATE.surface(vertices_m[[frame]], plain_material(), WHITE).normals
        np.testing.assert_array_equal(alone[0], normals[frame])


def test_the_dome_closes_the_hand_outside_out():
    surface = closed(posed(4)[0])
    assert not trimesh.Trimesh(HAND.template_m, HAND.faces, process=False).is_watertight
    for frame in range(4):
        mesh = welded(surface, frame)
        assert mesh.is_watertight and mesh.is_winding_consistent and mesh.euler_number == 2
        assert 1.5e-4 < mesh.volume < 9e-4  # a hand is about 0.4 litres


@pytest.mark.parametrize("order", [slice(None, None, -1), slice(None)], ids=["reversed", "as it is"])
def test_the_loop_may_run_either_way(order):
    mesh = welded(closed(HAND.template_m[None], loop=oriented_loop(HAND.wrist_loop[order].copy(), HAND.faces)))
    assert mesh.is_watertight and mesh.volume == pytest.approx(welded(closed(HAND.template_m[None])).volume, rel=1e-6)


def test_the_surface_goes_along_with_rigid_motion():
    vertices = posed(1)[0]
    turn, shift = Rotation.random(rng=np.random.default_rng(0)).as_matrix(), np.array([0.1, -0.2, 0.6])
    still = closed(vertices)
    moved = closed((vertices @ turn.T + shift).astype(np.float32))
    np.testing.assert_allclose(moved.vertices_m, still.vertices_m @ turn.T + shift, atol=1e-6)
    np.testing.assert_allclose(moved.normals, still.normals @ turn.T, atol=2e-3)


def windings(mesh, point):
    """How often a closed surface goes around a point: the sum of its triangles' solid angles (Van Oosterom and Strackee 1983) over 4 pi."""
    a, b, c = np.moveaxis(mesh.triangles - point, 1, 0)
    la, lb, lc = (np.linalg.norm(corner, axis=1) for corner in (a, b, c))
    above = np.einsum("ni,ni->n", a, np.cross(b, c))
    below = la * lb * lc + (a * b).sum(1) * lc + (b * c).sum(1) * la + (c * a).sum(1) * lb
    return np.arctan2(above, below).sum() / (2 * np.pi)


def test_every_joint_but_the_tips_lies_inside():
    vertices, joints = posed(3)
    surface = closed(vertices)
    for frame in range(3):
        mesh = mesh_of(surface, frame)
        for joint in sorted(set(range(21)) - set(TIPS)):
            assert windings(mesh, joints[frame, joint]) == pytest.approx(1, abs=0.01), joint


def test_parts_are_those_of_the_largest_weight_and_the_dome_is_palm():
    surface = closed(HAND.template_m[None])
    assert set(np.unique(surface.corner_parts)) == set(range(1, 17))
    for face in np.random.default_rng(0).integers(len(HAND.faces), size=100):
        for corner, vertex in enumerate(HAND.faces[face]):
            weights = HAND.skinning_weights[vertex]
            assert surface.corner_parts[face, corner] == 1 + np.argmax(weights)
            np.testing.assert_array_equal(surface.corner_weights[face, corner], weights[surface.corner_parts[face] - 1])
    assert (surface.corner_parts[len(HAND.faces) :, 2] == 1).all()


def test_the_dome_takes_the_colour_of_its_rim():
    colours = np.random.default_rng(0).random(HAND.template_m.shape).astype(np.float32)
    surface = closed(HAND.template_m[None], colours=colours)
    np.testing.assert_array_equal(surface.colours[: len(colours)], colours)
    rim = {tuple(colour) for colour in colours[HAND.wrist_loop]}
    assert {tuple(colour) for colour in surface.colours[len(colours) :]} <= rim


def test_the_dome_begins_with_the_rims_own_normals_so_that_no_seam_shows():
    vertices = posed(2)[0]
    hand = TEMPLATE.surface(vertices, plain_material(), WHITE)
    dome = dome_surface(hand, LOOP, plain_material())
    np.testing.assert_array_equal(dome.vertices_m[:, : len(LOOP)], hand.vertices_m[:, LOOP])
    np.testing.assert_allclose(dome.normals[:, : len(LOOP)], hand.normals[:, LOOP], atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(dome.normals, axis=-1), 1, atol=1e-5)


def test_the_domes_texture_runs_once_around():
    """No face but those at the apex spans more than one step of the loop, so that nothing is smeared across the texture."""
    hand = TEMPLATE.surface(HAND.template_m[None], plain_material(), WHITE)
    uv = dome_surface(hand, LOOP, plain_material()).corner_uv
    assert (np.ptp(uv[..., 0], axis=1) <= 1.01 / len(LOOP)).all() and uv[..., 1].min() > 0 and uv[..., 1].max() < 0.2
    assert uv[..., 0].min() == 0 and uv[..., 0].max() <= 1


def test_the_candidates_hold_the_part_of_largest_weight_all_over_every_face():
    """Also where none of the corners has it."""
    rng = np.random.default_rng(0)
    shares = rng.dirichlet([1, 1, 1], len(HAND.faces) * 20).reshape(20, len(HAND.faces), 3)
    by_all = 1 + np.einsum("nfc,fcp->nfp", shares, HAND.skinning_weights[HAND.faces]).argmax(-1)
    best = np.einsum("nfc,fck->nfk", shares, TEMPLATE.corner_weights).argmax(-1)
    by_candidates = np.take_along_axis(np.broadcast_to(TEMPLATE.corner_parts, (20, len(HAND.faces), 3)), best[..., None], -1)[..., 0]
    assert (by_all == by_candidates).mean() > 0.9999


KEPT = {
    "the dome's faces": lambda: dome_faces(20),
    "the dome's texture": lambda: _corner_uv(20),
    "an arm's judged frames": lambda: _judged_frames(30),
    "angles around an arm": lambda: ARM.angles,
    "faces of a tube": lambda: tube(4, 5, closed_start=True).faces,
    "rings of a tube": lambda: tube(4, 5, closed_start=True).corner_ring,
    "turns of a tube": lambda: tube(4, 5, closed_start=True).corner_turn,
    "places in a texture": _place,
}


@pytest.mark.parametrize("made", KEPT.values(), ids=KEPT.keys())
def test_what_is_kept_for_all_clips_can_be_changed_by_none(made):
    kept = made()
    assert made() is kept
    with pytest.raises(ValueError, match="read-only"):
        kept[...] = 0
