"""Arms: without a seam, closed, as thick and as bent as people's, no stretching, out of the picture and out of the camera's way."""

from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
import torch
import trimesh
from mano_files import write_mano
from scipy.spatial.transform import Rotation

from seqgen.camera import Camera, intrinsics_from_fov
from seqgen.config import build, find_config, read_toml
from seqgen.errors import UserError
from seqgen.hand import load_hand, mirrored
from seqgen.hand.layer import HandLayer
from seqgen.scene.arm.arm import BARE_RINGS, ArmConfig, arm_surface, arm_template, draw_arm
from seqgen.scene.arm.posture import (
    FLEXION_RAD,
    MOST_M,
    NUM_WAYS,
    ULNAR_RAD,
    WIDENING,
    HeldArm,
    Lengths,
    Ways,
    centreline,
    choose_way,
    draw_ways,
    out_after_m,
    within_limits,
    wrist_towards,
)
from seqgen.scene.arm.sleeve import WIDEST, draw_sleeve, sleeve_rings
from seqgen.scene.scene import plain_material
from seqgen.scene.surface import corners_of_vertex, vertex_normals
from seqgen.scene.view.placement import place_hand
from seqgen.scene.view.view import CameraConfig, draw_view
from seqgen.skeleton import PART_ARM, hand_frame

HAND = load_hand("open")
LAYER = HandLayer(HAND)
TEMPLATE = arm_template(HAND)
LOOP = len(TEMPLATE.loop)
TOUCHES = corners_of_vertex(HAND.faces, len(HAND.template_m))
SKIN, CLOTH = plain_material((200, 160, 140)), plain_material((60, 80, 160))
AT_WRIST, AT_ELBOW, PAST_ELBOW = np.cumsum(BARE_RINGS)[:3]  # rings of a bare arm
PRESETS = sorted(path.stem for path in (Path(__file__).parent.parent / "configs").glob("*.toml"))
SLEEVED = pytest.mark.parametrize("sleeve", [0.0, 1.0], ids=["bare", "sleeved"])


def normals_of(vertices_m):
    return vertex_normals(vertices_m, HAND.faces, TOUCHES)


def resting_hand(frames=1, betas=None):
    """In the hand frame, metres."""
    mesh = LAYER(torch.zeros(1, 16, 3), torch.zeros(1, 10) if betas is None else betas, torch.zeros(1, 3))
    frame = hand_frame(mesh.joints_m.double().numpy())
    return np.repeat((mesh.vertices_m.double().numpy() - frame.wrist) @ frame.axes[0], frames, 0)


def camera_of(frames=1, size=(224, 224), fov_deg=35.0):
    return Camera("perspective", np.repeat(intrinsics_from_fov(np.radians(fov_deg), size)[None], frames, 0), size)


@lru_cache
def seen_hand(seed, frames=4, config=None, size=(224, 224)):
    """A hand as clips show it: vertices in the camera frame, the camera and the view."""
    config, rng = config or CameraConfig(), np.random.default_rng(seed)
    view = draw_view(config, frames=frames, fps=30.0, rng=rng)
    betas = 0.6 * torch.randn(1, 10, generator=torch.Generator().manual_seed(seed))
    turned = np.einsum("fij,fvj->fvi", view.camera_from_hand, resting_hand(frames, betas))
    placed = place_hand(config, view, turned, size=size, fps=30.0, rng=rng)
    return (turned + placed.wrist_m[:, None]).astype(np.float32), placed.camera, view


def drawn_arm(seed=0, frames=4, sleeve=0.0, view=None):
    viewpoint, forearm = (view.viewpoint, view.forearm_in_hand) if view else ("third_person", None)
    return draw_arm(ArmConfig(sleeve=sleeve), frames=frames, fps=30.0, viewpoint=viewpoint, rng=np.random.default_rng(seed), forearm_in_hand=forearm)


def held(arm, flexion_deg=0.0, ulnar_deg=0.0, elbow_deg=25.0):
    """The arm with one way of holding it, the same in all frames."""
    wrist = np.radians([flexion_deg, 0.0, -ulnar_deg])
    return replace(arm, ways=Ways(np.broadcast_to(wrist, arm.ways.wrist.shape).copy(), np.tile(np.radians([elbow_deg, 0.0, 0.0]), (NUM_WAYS, 1))))


def grown(vertices_m, arm, camera=None):
    return arm_surface(TEMPLATE, arm, vertices_m, normals_of(vertices_m), camera or camera_of(len(vertices_m)), SKIN, CLOTH)


def held_out(distance_m=0.7, frames=1, betas=None):
    """A hand before the camera, its back to it, fingers up."""
    return (resting_hand(frames, betas) @ np.diag([1.0, -1.0, -1.0]) + [0, 0, distance_m]).astype(np.float32)


# --- surface ---


@SLEEVED
def test_the_arm_begins_with_the_loop_to_the_bit(sleeve):
    vertices, camera, view = seen_hand(1)
    surface = grown(vertices, drawn_arm(1, sleeve=sleeve, view=view), camera)
    np.testing.assert_array_equal(surface.vertices_m[:, :LOOP], vertices[:, TEMPLATE.loop])
    np.testing.assert_array_equal(surface.normals[:, :LOOP], normals_of(vertices)[:, TEMPLATE.loop])


@SLEEVED
def test_hand_and_arm_together_are_closed_outside_out(sleeve):
    vertices, camera, view = seen_hand(2)
    surface = grown(vertices, drawn_arm(2, sleeve=sleeve, view=view), camera)
    surface_of = np.arange(surface.vertices_m.shape[1]) + len(HAND.template_m)
    surface_of[:LOOP] = TEMPLATE.loop
    for frame in range(len(vertices)):
        both = trimesh.Trimesh(np.concatenate([vertices[frame], surface.vertices_m[frame]]), np.concatenate([HAND.faces, surface_of[surface.faces]]), process=False)
        assert both.is_watertight and both.is_winding_consistent
        assert all(part.volume > 0 for part in both.split())
        assert len(both.split()) == (2 if sleeve else 1)
    assert len(surface.faces) < (1300 if sleeve else 750)


@SLEEVED
@pytest.mark.parametrize("bend", [(0, 0), (50, 0), (-50, 0), (0, 30), (0, -17), (35, 21), (-35, 21)], ids=str)
def test_no_fold_at_any_bend(bend, sleeve):
    """Every face looks as the normals at its corners do, and so do neighbouring normals: where the skin were folded some would look back."""
    for seed in range(5):
        surface = grown(held_out(), held(drawn_arm(seed, 1, sleeve), *bend, elbow_deg=110.0))
        mesh = trimesh.Trimesh(surface.vertices_m[0], surface.faces, process=False)
        corners = surface.normals[0][surface.faces]
        agree = (corners * mesh.face_normals[:, None]).sum(-1)
        bare = int((surface.face_materials == 0).sum()) - LOOP  # without the cap, whose rim is an edge
        assert agree[:bare].min() > 0.1 and np.mean(agree > 0) > 0.95  # of a sleeve, what is hidden within the arm has edges
        np.testing.assert_allclose(np.linalg.norm(surface.normals, axis=-1), 1, atol=1e-4)


def test_the_skin_leaves_along_the_hands_surface():
    """From the last edge of the hand to the arm's first the surface turns no more than it does within the hand around its loop."""
    surface = grown(held_out(), held(drawn_arm(0, 1)))
    mesh = trimesh.Trimesh(surface.vertices_m[0], surface.faces, process=False)
    at_loop = mesh.face_normals[np.isin(surface.faces, np.arange(LOOP)).any(1)]
    loop_normals = surface.normals[0, :LOOP]
    nearest = (at_loop @ loop_normals.T).max(1)
    assert nearest.min() > np.cos(np.radians(20))


@SLEEVED
def test_texture_coordinates_run_once_around_and_down_the_arm(sleeve):
    surface = grown(held_out(), drawn_arm(3, 1, sleeve))
    skin = surface.face_materials == 0
    corners, faces = surface.corner_uv[skin], surface.faces[skin]
    assert 0.004 <= corners[..., 1].min() and corners[..., 1].max() <= 0.996
    assert corners[..., 0].min() == 0 and corners[..., 0].max() == 1
    assert np.ptp(corners[..., 0], axis=1).max() <= 1.001 / LOOP  # no face runs back across the seam
    ring = faces < LOOP
    turns = np.mod(corners[ring][:, 0], 1.0)
    np.testing.assert_allclose(turns, faces[ring] / LOOP, atol=1e-6)
    np.testing.assert_allclose(corners[ring][:, 1], 0.004, atol=1e-6)
    assert (surface.corner_parts == PART_ARM).all()


def test_the_cloth_repeats_a_whole_number_of_times_and_keeps_its_scale():
    surface = grown(held_out(), drawn_arm(3, 1, 1.0))
    cloth = surface.face_materials == 1
    repeats = surface.corner_uv[cloth][..., 0].max()
    assert repeats == round(repeats) >= 1
    a, b, c = (surface.vertices_m[0][surface.faces[cloth]][:, corner] for corner in range(3))
    (ua, va), (ub, vb), (uc, vc) = (surface.corner_uv[cloth][:, corner].T for corner in range(3))
    metres, repeats_squared = np.linalg.norm(np.cross(b - a, c - a), axis=1), np.abs((ub - ua) * (vc - va) - (uc - ua) * (vb - va))
    assert 0.5 < np.median(metres[repeats_squared > 0] / repeats_squared[repeats_squared > 0]) / 0.08**2 < 2


def test_a_sleeve_is_wider_than_the_arm_in_it_but_not_much():
    rng, angles = np.random.default_rng(5), np.linspace(0, -2 * np.pi, 21)[:-1]
    for _ in range(100):
        rings = sleeve_rings(draw_sleeve(rng), lambda along: np.tile([0.027, 0.02], (len(along), 1)), 0.24, Lengths(0.05, (0.17, 0.3), 0.65), angles, 0.0)
        gauge = np.sqrt((rings.offsets_m[..., 0] / 0.027) ** 2 + (rings.offsets_m[..., 2] / 0.02) ** 2)
        assert 1 < gauge[1:].min() and gauge.mean(1).max() < WIDEST and gauge[0].max() < 1
        hem = rings.along_m.argmin()
        assert (np.diff(rings.along_m[hem + 1 :]) > 0).all() and (np.diff(rings.along_m[: hem + 1]) < 0).all()


# --- proportions and posture ---


def ring(surface, number):
    return surface.vertices_m[0, number * LOOP : (number + 1) * LOOP]


def test_an_arm_is_as_thick_as_people_have_them():
    """The mean hand's wrist is an oval of about 58 x 40 mm, its forearm less than 310 / 176 girths of it, as flexed ones have (Gordon et al. 2014).

    An arm is narrowest at the wrist and thickest in the forearm's upper third.
    """
    ratios = []
    for seed in range(30):
        surface = grown(held_out(), held(drawn_arm(seed, 1)))
        rings = np.stack([ring(surface, number) for number in range(PAST_ELBOW)])
        girth = np.linalg.norm(rings - np.roll(rings, 1, 1), axis=-1).sum(1)
        narrow, belly = girth.argmin(), girth.argmax()
        assert 0.85 < girth[narrow] / girth[0] < 1.0 and 0 < narrow < AT_WRIST < belly <= AT_ELBOW
        assert (np.diff(girth[narrow : belly + 1]) > 0).all()
        ratios.append(girth[belly] / girth[narrow])
        shares = np.linalg.norm(rings.mean(1) - rings[0].mean(0), axis=-1)
        assert 0.6 < shares[belly] / shares[[AT_ELBOW, -1]].mean() < 0.85
    assert 1.4 < min(ratios) and max(ratios) < 2.05 and 1.5 < np.mean(ratios) < 310 / 176 * 1.03
    spread = rings[narrow] - rings[narrow].mean(0)
    breadth, thickness, _ = np.sqrt(np.linalg.eigvalsh(spread.T @ spread)[::-1] * 8 / LOOP) * 1000
    assert 46 < breadth < 64 and 32 < thickness < 46 and breadth / thickness == pytest.approx(1.45, abs=0.08)


def test_the_forearm_is_as_long_as_the_hand_says():
    """268 mm from wrist to elbow over a hand of 194 mm (Gordon et al. 2014): straight, the elbow is beyond the wrist, behind the fingers."""
    vertices = held_out()
    surface = grown(vertices, held(drawn_arm(0, 1), elbow_deg=1e-6))
    middles = np.stack([ring(surface, number).mean(0) for number in range(sum(BARE_RINGS) + 1)])
    hand_mm = 1000 * np.ptp(vertices[0, :, 1])
    elbow_mm = 1000 * np.linalg.norm(middles[[AT_ELBOW, PAST_ELBOW]].mean(0) - middles[0])
    assert abs(elbow_mm / hand_mm - 268 / 194) < 0.12
    assert np.ptp(middles[:, 0]) < 0.005 and np.ptp(middles[:, 2]) < 0.005


def test_an_elbow_has_a_point_on_its_outer_side():
    """Bent, the middle ring of the elbow reaches farther out of the bend, about a centimetre, than into it; straight, it does not."""
    number, beyond = (AT_ELBOW + PAST_ELBOW + 1) // 2, []
    for elbow_deg in (1e-6, 90.0):
        surface = grown(held_out(), held(drawn_arm(0, 1), elbow_deg=elbow_deg))
        chord = np.mean([ring(surface, AT_ELBOW).mean(0), ring(surface, PAST_ELBOW).mean(0)], 0)
        outwards = ring(surface, number).mean(0) - chord if elbow_deg > 1 else np.array([0.0, 0.0, 1.0])
        reach = (ring(surface, number) - ring(surface, number).mean(0)) @ outwards / np.linalg.norm(outwards)
        beyond.append(reach.max() + reach.min())
    assert abs(beyond[0]) < 0.002 and 0.003 < beyond[1] < 0.015


def test_the_line_is_the_integral_of_its_direction():
    """Slow twin: many short steps along the carried y."""
    lengths, wrist, elbow = Lengths(0.05, (0.2, 0.3), 0.5), np.array([[0.7, 0, -0.4], [0, 0, 0]]), np.array([0.9, 0, 1.2])
    along = np.linspace(0, 0.5, 20001)
    middle = (along[1:] + along[:-1]) / 2
    turned = Rotation.from_rotvec(np.clip(middle / 0.05, 0, 1)[:, None] * wrist[0]) * Rotation.from_rotvec(np.clip((middle - 0.2) / 0.1, 0, 1)[:, None] * elbow)
    steps = turned.apply([0, 1, 0]) * np.diff(along)[:, None]
    np.testing.assert_allclose(centreline(lengths, wrist, elbow, along)[0, 1:], np.cumsum(steps, 0), atol=1e-6)


def test_wrists_stay_within_human_limits():
    ways = [draw_ways(frames=30, fps=10.0, rng=np.random.default_rng(seed)) for seed in range(200)]
    flexion, ulnar = np.concatenate([way.wrist[..., 0].ravel() for way in ways]), -np.concatenate([way.wrist[..., 2].ravel() for way in ways])
    assert FLEXION_RAD[0] - 1e-9 <= flexion.min() and flexion.max() <= FLEXION_RAD[1] + 1e-9
    assert ULNAR_RAD[0] - 1e-9 <= ulnar.min() and ulnar.max() <= ULNAR_RAD[1] + 1e-9
    assert 0.2 < (flexion > 0).mean() < 0.4 and flexion.std() > 0.2  # more often extended
    inside = np.radians([[20.0, 8.0], [-20.0, -5.0]])
    np.testing.assert_array_equal(within_limits(inside), inside)


def test_flexion_brings_the_forearm_to_the_palm_and_ulnar_deviation_to_the_little_finger():
    vertices = held_out()  # its palm looks away from the camera (+z), its little finger is to the right (+x)

    def elbow(**bend):
        return grown(vertices, held(drawn_arm(0, 1), **bend)).vertices_m[0, AT_ELBOW * LOOP : (AT_ELBOW + 1) * LOOP].mean(0)

    assert elbow(flexion_deg=40)[2] > elbow()[2] + 0.05
    assert elbow(ulnar_deg=30)[0] > elbow()[0] + 0.05


# --- motion ---


@SLEEVED
def test_an_arm_moves_with_its_hand_and_does_not_stretch(sleeve):
    """However the hand is moved: the arm is moved so too."""
    frames, rng = 5, np.random.default_rng(4)
    turns = Rotation.random(frames, random_state=3).as_matrix()
    still = held_out(frames=frames)
    moved = (np.einsum("fij,fvj->fvi", turns, still - [0, 0, 0.7]) + [0, 0, 0.7] + 0.05 * rng.standard_normal((frames, 1, 3))).astype(np.float32)
    arm = held(drawn_arm(4, frames, sleeve), 20, 10, 60)
    before, after = grown(still, arm), grown(moved, arm)
    pairs = rng.integers(0, before.vertices_m.shape[1], (2, 400))
    for surface in (before, after):
        lengths = np.linalg.norm(surface.vertices_m[:, pairs[0]] - surface.vertices_m[:, pairs[1]], axis=-1)
        assert np.ptp(lengths, axis=0).max() < 2e-6
    offset = after.vertices_m[:, :LOOP].mean(1) - np.einsum("fij,fj->fi", turns, before.vertices_m[:, :LOOP].mean(1))
    np.testing.assert_allclose(np.einsum("fij,fvj->fvi", turns, before.vertices_m) + offset[:, None], after.vertices_m, atol=3e-6)
    np.testing.assert_allclose(np.einsum("fij,fvj->fvi", turns, before.normals), after.normals, atol=2e-3)


def test_bending_the_wrist_moves_the_forearm_as_one():
    frames = 9
    arm = drawn_arm(6, frames)
    wrist = np.radians(np.stack([np.linspace(-30, 30, frames), np.zeros(frames), np.linspace(-10, 10, frames)], 1))
    surface = grown(held_out(frames=frames), replace(arm, ways=Ways(np.tile(wrist, (NUM_WAYS, 1, 1)), np.tile(arm.ways.elbow[0], (NUM_WAYS, 1)))))
    rings = surface.vertices_m[:, AT_WRIST * LOOP :]  # beyond the wrist's arc
    assert np.ptp(np.linalg.norm(rings - rings[:, :1], axis=-1), axis=0).max() < 2e-6
    assert np.linalg.norm(np.diff(rings, 2, axis=0), axis=-1).max() < 0.3 * np.linalg.norm(np.diff(rings, axis=0), axis=-1).max()  # smoothly


# --- before the camera ---


def end_of(surface):
    """Vertices of the last ring and of its cap."""
    last = surface.vertices_m.shape[1] - (2 if len(surface.materials) > 1 else 1)
    return surface.vertices_m[:, last - LOOP : last + 1].astype(float)


def in_picture(points_m, camera):
    pixels = camera.project(np.concatenate([points_m[..., :2], np.maximum(points_m[..., 2:], 1e-3)], -1))
    return ((pixels > -0.5) & (pixels < np.array(camera.size) - 0.5)).all(-1) & (points_m[..., 2] > 0)


@pytest.mark.parametrize("preset", PRESETS)
def test_arms_leave_the_picture(preset, record_property):
    """Whatever is shipped: of a hundred random views none shows the end of an arm in any frame, none has a pinhole in an arm; and few hands are hidden by theirs."""
    settings = read_toml(find_config(preset))
    config = build(CameraConfig, settings.get("camera", {}), where=preset)
    size = tuple(settings.get("clip", {}).get("size", (224, 224)))
    ended, cut, hidden, reach = [], [], [], []
    for seed in range(100):
        vertices, camera, view = seen_hand(seed, config=config, size=size)
        surface = grown(vertices, drawn_arm(seed + 1000, sleeve=0.45, view=view), camera)
        ended.append(in_picture(end_of(surface), camera).any())
        cut.append((in_picture(surface.vertices_m.astype(float), camera) & (surface.vertices_m[..., 2] < 0.02)).any())
        hidden.append(max(hidden_share(surface, vertices, camera, frame) for frame in (0, 2, 3)) if seed < 40 else 0.0)
        reach.append(np.linalg.norm(end_of(surface).mean(1) - surface.vertices_m[:, :LOOP].mean(1), axis=-1).max())
    report = f"of 100 arms {sum(ended)} end in the picture, {sum(cut)} are cut off, one hides {max(hidden):.0%} of its hand, reach {np.median(reach):.2f} to {max(reach):.2f} m"
    record_property("arms", report)
    assert sum(ended) == 0, report
    assert sum(cut) <= (2 if config.kind == "weak_perspective" else 0)  # a weak-perspective camera stands nowhere, so arms may pass it
    assert max(hidden) < 0.2, report


def hidden_share(surface, vertices_m, camera, frame):
    """Slow twin: which share of the hand's vertices (every tenth) is behind a triangle of the arm."""
    one, hand = Camera(camera.kind, camera.intrinsics[frame : frame + 1], camera.size), vertices_m[frame, ::10].astype(float)
    triangles = surface.vertices_m[frame][surface.faces].astype(float)
    triangles = triangles[(triangles[..., 2] > 0.01).all(1)]
    corners, points = one.project(triangles.reshape(1, -1, 3))[0].reshape(-1, 1, 3, 2), one.project(hand[None])[0]
    edges, spokes = np.roll(corners, -1, 2) - corners, points[:, None] - corners
    opposite = np.roll(edges[..., 0] * spokes[..., 1] - edges[..., 1] * spokes[..., 0], -1, 2)  # twice the area over against each corner
    area = opposite.sum(-1)
    depth = (opposite * triangles[:, None, :, 2]).sum(-1) / np.where(np.abs(area) > 1e-9, area, np.inf)
    return ((opposite * np.sign(area)[..., None] > 0).all(-1) & (depth < hand[:, 2] - 0.004)).any(0).mean()


def test_an_arm_goes_on_until_it_is_out():
    """Closed form of how far, against many small steps; an arm that heads for a vanishing point within the picture never is out."""
    rng, camera = np.random.default_rng(3), camera_of()
    for _ in range(100):
        start, way = np.array([*rng.uniform(-0.1, 0.1, 2), 0.8]), rng.standard_normal(3)
        way = way / np.linalg.norm(way)
        found = out_after_m(start[None], way[None], 0.04, camera)[0]
        steps = np.arange(0, 8, 1e-3)
        points, radii = start + steps[:, None] * way, 0.04 + WIDENING * steps
        slope = np.tan(np.radians(35 / 2))
        beyond = np.stack([sign * points[:, axis] - slope * points[:, 2] for axis in (0, 1) for sign in (1, -1)]) / np.hypot(1, slope) > radii
        assert steps[beyond.any(0)].min(initial=np.inf) == pytest.approx(found, abs=2e-3) or found > 7.9
    assert out_after_m(np.array([[0.0, 0, 1]]), np.array([[0.0, 0, 1]]), 0.04, camera)[0] == np.inf


def test_an_arm_is_no_longer_than_it_must_be():
    lengths, turns = Lengths(0.05, (0.2, 0.3), 0.6), np.tile(np.diag([1.0, -1.0, -1.0]), (2, 1, 1))  # y goes up in the picture, and out of it
    for distance, longer in ((0.5, False), (4.0, True)):
        held_arm = HeldArm(lengths, np.zeros((2, 3)), np.zeros(3), turns, np.array([[0.0, 0, distance]] * 2)).leaving(0.04, camera_of(2))
        assert (held_arm.lengths.end_m > 0.6) == longer and held_arm.lengths.end_m <= 0.3 + MOST_M
        assert replace(held_arm.lengths, end_m=0.6) == lengths


def test_an_arm_that_hides_its_hand_is_not_taken():
    """Bent by 50 degrees the forearm passes before the hand: refused, though it comes first; slightly bent it does not."""
    lengths, along = Lengths(0.05, (0.2, 0.3), 0.6), np.linspace(0.05, 0.3, 9)
    turn = Rotation.from_euler("x", 35, degrees=True).as_matrix()[None] @ np.diag([1.0, -1.0, -1.0])
    hand = np.array([[0.0, 0, 0.9]]) + turn[0] @ np.array([0, -1.0, 0]) * np.linspace(0.02, 0.15, 30)[:, None]
    ways = np.array([[[-1.9, 0, 0]], [[0.0, 0, 0]]])
    for order in ([0, 1], [1, 0]):
        chosen = choose_way(
            Ways(ways[order], np.tile([0.0, 0, 1.0], (2, 1))), lengths, along, np.full(9, 0.03), turn, np.array([[0.0, 0, 0.9]]), hand[None], camera_of(), to_shoulder=False
        )
        assert order[chosen] == 1


def test_the_arm_goes_where_the_view_says():
    """One's own forearm: its straight part lies as drawn with the view, in every frame."""
    for seed in range(20):
        vertices, camera, view = seen_hand(seed, config=CameraConfig(egocentric=1.0))
        surface = grown(vertices, drawn_arm(seed, view=view), camera)
        middles = surface.vertices_m[:, : (AT_ELBOW + 1) * LOOP].reshape(4, AT_ELBOW + 1, LOOP, 3).mean(2)[:, [AT_WRIST + 1, AT_ELBOW]]
        way = np.diff(middles, axis=1)[:, 0]
        asked = np.einsum("fij,fj->fi", view.camera_from_hand, view.forearm_in_hand)
        assert (way * asked).sum(-1).min() / np.linalg.norm(way, axis=-1).max() > np.cos(np.radians(2.0))
    directions = Rotation.random(50, random_state=1).as_matrix()[:, :, 0]
    np.testing.assert_allclose(Rotation.from_rotvec(wrist_towards(directions)).apply([0.0, 1.0, 0.0]), directions, atol=1e-9)
    assert (wrist_towards(directions)[:, 1] == 0).all()


def test_of_two_ways_the_one_beside_the_camera_is_taken():
    lengths, along = Lengths(0.05, (0.2, 0.3), 0.6), np.linspace(0.05, 0.3, 12)
    toward_camera = np.array([[0.0, 0, 1], [-1, 0, 0], [0, -1, 0]])[None]  # the arm frame's y is the camera's -z
    origin, hand = np.array([[0.0, 0, 0.4]]), np.array([[[-0.05, -0.05, 0.4], [0.05, 0.05, 0.5]]])
    straight, bent = np.zeros((1, 3)), np.array([[0.0, 0.0, 0.9]])
    for order in ([straight, bent], [bent, straight]):
        way = choose_way(Ways(np.stack(order), np.zeros((2, 3))), lengths, along, np.full(12, 0.03), toward_camera, origin, hand, camera_of(), to_shoulder=False)
        assert (order[way] == bent).all()


# --- draws and models ---


def test_switching_things_off_draws_as_much():
    ends = []
    for config in (ArmConfig(), ArmConfig(sleeve=0.0), ArmConfig(sleeve=1.0), ArmConfig(kind="none")):
        rng = np.random.default_rng(7)
        arm = draw_arm(config, frames=5, fps=30.0, viewpoint="third_person", rng=rng)
        ends.append(rng.random())
        assert (arm is None) == (config.kind == "none")
        assert arm is None or arm.ways.wrist[3, 2, 0] == drawn_arm(7, 5).ways.wrist[3, 2, 0]
    assert len(set(ends)) == 1
    assert sum(drawn_arm(seed, 2, 0.45).sleeve is not None for seed in range(400)) / 400 == pytest.approx(0.45, abs=0.08)


def test_the_same_inputs_give_the_same_bits():
    vertices, camera, _ = seen_hand(5)
    first, second = (grown(vertices, drawn_arm(5, sleeve=1.0), camera) for _ in range(2))
    for name in ("vertices_m", "normals", "corner_uv", "faces"):
        assert getattr(first, name).tobytes() == getattr(second, name).tobytes()


def test_any_model_with_a_loop_has_an_arm(tmp_path):
    write_mano(tmp_path)
    for model in (load_hand("mano", mano_dir=tmp_path), mirrored(HAND)):
        template = arm_template(model)
        vertices = (model.template_m[None] + [0, 0, 0.7]).astype(np.float32)
        normals = vertex_normals(vertices, model.faces, corners_of_vertex(model.faces, len(model.template_m)))
        for sleeve in (0.0, 1.0):
            surface = arm_surface(template, drawn_arm(0, 1, sleeve), vertices, normals, camera_of(), SKIN, CLOTH)
            assert np.isfinite(surface.vertices_m).all() and np.isfinite(surface.normals).all()
            np.testing.assert_array_equal(surface.vertices_m[:, : len(template.loop)], vertices[:, template.loop])
            assert len(template.loop) == len(model.wrist_loop)


def test_a_model_that_is_closed_has_none():
    with pytest.raises(UserError, match=r"no open loop at its wrist .* arm\.kind = none"):
        arm_template(replace(HAND, wrist_loop=HAND.wrist_loop[:0]))
