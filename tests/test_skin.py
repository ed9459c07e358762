"""Skin: tones that are measured back, texels where the mesh has them, anatomy on its right side, an arm without a seam, and users' own skins."""

from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
from mano_files import write_mano
from PIL import Image
from scipy.spatial import cKDTree

from seqgen.errors import UserError
from seqgen.hand import load_hand
from seqgen.hand.anatomy import joint_axes
from seqgen.hand.model import rest_joints_m
from seqgen.scene.skin import kept_map as kept_map_module
from seqgen.scene.skin.amounts import draw_amounts
from seqgen.scene.skin.fields import mottling, spots
from seqgen.scene.skin.folder import SkinRef, list_skins, own_skin, read_picture, read_template
from seqgen.scene.skin.kept_map import kept_skin_map
from seqgen.scene.skin.paint import paint_skin
from seqgen.scene.skin.record import SkinConfig
from seqgen.scene.skin.sites import anatomy_of, arm_sites, hand_sites
from seqgen.scene.skin.skin_map import DRAWN, FIXED, NAILS, PATTERNS, VARIANTS, skin_map
from seqgen.scene.skin.tone import ITA_RANGE_DEG, ita_from_rgb, ita_from_uniform, levels_from_linear, linear_from_levels, linear_rgb_from_lab, log_tone, middle_tone, tone_name
from seqgen.scene.skin.unwrap import lay_out, skin_uv
from seqgen.skeleton import CANONICAL_FROM_MANO, TIPS
from seqgen.splits import SPLITS, SplitConfig
from seqgen.srgb import linear_from_srgb, srgb_from_linear

HAND = load_hand("open")
BARE = replace(HAND, name="bare", uv=np.zeros((0, 2), np.float32), uv_faces=np.zeros((0, 3), np.int32))  # without texture coordinates, as MANO's files are
MAP, FINE = skin_map(HAND), skin_map(HAND, 512)
GLOVE = skin_map(BARE)
SITES, FINE_SITES = (hand_sites(HAND, anatomy_of(HAND), where.texels) for where in (MAP, FINE))
ALL = SplitConfig(train=8, val=1, test=1)
FINGERS = ("thumb", "index", "middle", "ring", "pinky")


def pattern(name, where=MAP):
    return where.hand.fixed[FIXED.index(name)]


def painted(ita_deg, seed=0, where=MAP, **config):
    return paint_skin(where, SkinConfig(**config), float(ita_deg), np.random.default_rng(seed))


def texels_of(skin, where=MAP):
    """Linear colours of the painted texels."""
    return linear_from_srgb(skin.hand.albedo.reshape(-1, 3)[where.texels.places] / 255)


def looked_up(picture, uv):
    """The renderer's lookup, one point and one channel at a time: texel (row, column) has its centre at u = (column + 0.5) / width, v = 1 - (row + 0.5) / height."""
    height, width = picture.shape[:2]
    values = []
    for u, v in uv:
        column, row = u * width - 0.5, (1 - v) * height - 0.5
        left, top = int(np.floor(column)), int(np.floor(row))
        x, y = column - left, row - top
        value = 0.0
        for down, right, share in ((0, 0, (1 - x) * (1 - y)), (0, 1, x * (1 - y)), (1, 0, (1 - x) * y), (1, 1, x * y)):
            value = value + share * picture[(top + down) % height, (left + right) % width].astype(float)
        values.append(value)
    return np.array(values)


# --- tone ---

XYZ_FROM_RGB = np.array([[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]])  # sRGB's primaries, D65


def lab_of(linear_rgb):
    """CIE L*a*b*, D65, the textbook way."""
    ratio = linear_rgb @ XYZ_FROM_RGB.T / XYZ_FROM_RGB.sum(1)
    f = np.where(ratio > (6 / 29) ** 3, np.cbrt(ratio), ratio / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.stack([116 * f[..., 1] - 16, 500 * (f[..., 0] - f[..., 1]), 200 * (f[..., 1] - f[..., 2])], -1)


def ita_of(linear_rgb):
    lightness, _, b_star = np.moveaxis(lab_of(linear_rgb.astype(float)), -1, 0)
    return np.degrees(np.arctan2(lightness - 50, b_star))


@pytest.mark.parametrize(
    ("lab", "rgb"),
    [((100, 0, 0), (1, 1, 1)), ((0, 0, 0), (0, 0, 0)), ((49.496, 0, 0), (0.18, 0.18, 0.18)), ((53.2408, 80.0925, 67.2032), (1, 0, 0)), ((32.297, 79.1875, -107.8602), (0, 0, 1))],
)
def test_known_colours(lab, rgb):
    np.testing.assert_allclose(linear_rgb_from_lab(np.array(lab, float)), rgb, atol=2e-4)


def test_lab_comes_back():
    rgb = np.random.default_rng(0).random((2, 50, 3))
    np.testing.assert_allclose(linear_rgb_from_lab(lab_of(rgb)), rgb, atol=1e-4)


def test_levels_are_those_of_srgb_and_come_back():
    levels = np.random.default_rng(0).uniform(0, 255, (7, 9))
    np.testing.assert_allclose(linear_from_levels(levels), linear_from_srgb(levels / 255), atol=2e-5)
    np.testing.assert_allclose(levels_from_linear(linear_from_levels(levels)), levels, atol=1e-9)


@pytest.mark.parametrize("ita", np.linspace(*ITA_RANGE_DEG, 9))
def test_tones_have_their_angle_whatever_their_redness(ita):
    for redness, yellowness in ((0.0, 0.0), (2.0, -2.0), (-2.0, 2.0)):
        colour = np.exp(log_tone(float(ita), redness, yellowness))
        assert ita_of(colour) == pytest.approx(ita, abs=0.05) == ita_from_rgb(colour)


def test_the_table_of_tones_is_that_of_the_formula():
    for ita in np.random.default_rng(0).uniform(-60, 68, 200):
        np.testing.assert_allclose(middle_tone(float(ita)), log_tone(float(ita)), atol=5e-4)
    assert middle_tone(-80.0).tolist() == log_tone(-60.0).tolist() and middle_tone(90.0) == pytest.approx(log_tone(68.0))


@pytest.mark.parametrize(
    ("ita", "name"),
    [
        *[(60, "very light"), (55, "light"), (48, "light"), (41, "intermediate"), (30, "intermediate"), (28, "tan")],
        *[(11, "tan"), (10, "brown"), (-29, "brown"), (-30, "dark"), (-45, "dark")],
    ],
)
def test_tone_classes_are_the_published_ones(ita, name):
    assert tone_name(float(ita)) == name


def test_tones_are_spread_evenly_over_all_classes():
    tones = [ita_from_uniform(u) for u in np.linspace(0, 1, 1000)]
    assert (tones[0], tones[-1]) == pytest.approx(ITA_RANGE_DEG)
    assert max(np.diff(tones)) == pytest.approx(min(np.diff(tones)))
    assert {tone_name(tone) for tone in tones} == {"very light", "light", "intermediate", "tan", "brown", "dark"}


BACK = SITES.first & (SITES.outward > 0.6) & (pattern("nails") < 0.02)
PALM = pattern("palm") > 0.9


@pytest.mark.parametrize("where", [MAP, GLOVE], ids=["own", "glove"])
def test_the_back_of_a_painted_hand_has_the_tone_asked_for(where):
    sites = hand_sites(HAND if where is MAP else BARE, anatomy_of(HAND), where.texels)
    back = sites.first & (sites.outward > 0.6) & (pattern("nails", where) < 0.02)
    for seed in range(4):
        tones = [ita_of(texels_of(painted(ita, seed, where), where)[back].mean(0)) for ita in np.linspace(*ITA_RANGE_DEG, 8)]
        np.testing.assert_allclose(tones, np.linspace(*ITA_RANGE_DEG, 8), atol=2.0)
        assert (np.diff(tones) > 5).all()


@pytest.mark.parametrize("ita", np.linspace(*ITA_RANGE_DEG, 5))
def test_skin_is_as_red_and_yellow_as_skin_is(ita):
    for seed in range(4):
        lightness, redness, yellowness = lab_of(texels_of(painted(ita, seed))[BACK].mean(0))
        assert 30 < lightness < 80 and 4 < redness < 17 and 7 < yellowness < 24


def test_palms_are_paler_the_darker_the_skin():
    rises = []
    for ita in (60, 20, -20, -45):
        colours = [texels_of(painted(ita, seed)) for seed in range(4)]
        rises.append(np.mean([lab_of(c[PALM].mean(0))[0] - lab_of(c[BACK].mean(0))[0] for c in colours]))
    assert (np.diff(rises) > 2).all() and rises[0] > -6 and rises[-1] > 12


# --- texture coordinates ---


def test_the_model_s_own_texture_coordinates_are_kept():
    np.testing.assert_array_equal(skin_uv(HAND), HAND.uv[HAND.uv_faces])


def test_the_glove_shows_the_back_at_the_left_and_the_palm_at_the_right_both_with_the_fingers_up():
    uv, anatomy = skin_uv(BARE), anatomy_of(BARE)
    assert uv.min() > 0.01 and uv.max() < 0.99
    corners = HAND.template_m[HAND.faces]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    height = normals @ joint_axes(HAND)[0][:, 2] / np.linalg.norm(normals, axis=1)
    assert (uv[height > 0.5][..., 0] < 0.5).mean() > 0.98 and (uv[height < -0.5][..., 0] > 0.5).mean() > 0.98  # but for some in grooves
    places = hand_sites(BARE, anatomy, GLOVE.texels).points_m
    row = GLOVE.texels.places // GLOVE.texels.size
    assert np.corrcoef(row, places[:, 1])[0, 1] < -0.95
    turning = np.linalg.det(np.stack([uv[:, 1] - uv[:, 0], uv[:, 2] - uv[:, 0]], -1).astype(float))
    assert (turning > 0).mean() > 0.97  # not mirrored, hardly anything folded


def test_few_faces_of_the_glove_lie_over_each_other():
    uv = skin_uv(BARE).astype(float)
    areas = np.abs(np.linalg.det(np.stack([uv[:, 1] - uv[:, 0], uv[:, 2] - uv[:, 0]], -1))) / 2
    assert GLOVE.texels.covered.sum() / 256**2 > 0.95 * areas.sum()


def test_texels_lie_in_their_faces():
    texels, uv = MAP.texels, MAP.corner_uv.astype(float)
    row, column = np.divmod(texels.places[texels.covered], texels.size)
    centres = np.stack([(column + 0.5) / texels.size, 1 - (row + 0.5) / texels.size], 1)
    np.testing.assert_allclose(np.einsum("tk,tkc->tc", texels.weights[texels.covered], uv[texels.faces[texels.covered]]), centres, atol=1e-7)
    assert texels.weights[texels.covered].min() > -1e-5
    np.testing.assert_allclose(texels.weights.sum(1), 1)


@pytest.mark.parametrize("size", [32, 57])
def test_texels_are_those_of_a_search_through_all_faces(size):
    texels, uv = lay_out(MAP.corner_uv, size), MAP.corner_uv.astype(float)
    inside = np.zeros((size, size), bool)
    for row in range(size):
        centres = np.stack([(np.arange(size) + 0.5) / size, np.full(size, 1 - (row + 0.5) / size)], 1)
        ways, starts = np.roll(uv, -1, 1) - uv, centres[:, None, None] - uv
        edges = ways[..., 0] * starts[..., 1] - ways[..., 1] * starts[..., 0]  # on which side of each of its edges
        inside[row] = ((edges.min(-1) > 0) | (edges.max(-1) < 0)).any(1)
    np.testing.assert_array_equal(np.flatnonzero(inside), texels.places[texels.covered])


@pytest.mark.parametrize("where", [MAP, GLOVE], ids=["own", "glove"])
def test_no_lookup_on_the_hand_meets_a_texel_that_is_not_painted(where):
    rng = np.random.default_rng(0)
    faces, size = rng.integers(len(HAND.faces), size=4000), where.texels.size
    uv = np.einsum("pk,pkc->pc", rng.dirichlet([0.3] * 3, 4000), where.corner_uv[faces])
    column, row = np.floor(uv[:, 0] * size - 0.5).astype(int), np.floor((1 - uv[:, 1]) * size - 0.5).astype(int)
    for down in (0, 1):
        for right in (0, 1):
            assert np.isin((row + down) % size * size + (column + right) % size, where.texels.places).all()


@pytest.mark.parametrize("where", [MAP, GLOVE], ids=["own", "glove"])
def test_paint_runs_on_over_the_seams_of_the_texture(where):
    """The two sides of each edge that charts are cut along look up nearly the same."""
    skin, ends = painted(-40, 3, where), {}
    for face, uv in zip(HAND.faces.tolist(), where.corner_uv, strict=True):
        for vertex, place in zip(face, uv, strict=True):
            ends.setdefault(vertex, []).append(place)
    pairs = np.array([(places[0], other) for places in ends.values() for other in places if np.abs(places[0] - other).max() > 0.02])
    one, other = looked_up(skin.hand.albedo, pairs[:, 0]), looked_up(skin.hand.albedo, pairs[:, 1])
    assert len(pairs) > 100 and np.median(np.abs(one - other)) < 2 and np.quantile(np.abs(one - other), 0.9) < (10 if where is MAP else 25)


# --- what is where ---


def test_the_palm_is_on_the_palms_side():
    middle = np.linalg.norm(SITES.points_m - anatomy_of(HAND).joints_m[9] / 2, axis=1) < 0.03
    height = SITES.points_m[:, 2]
    assert height[middle & PALM].max() < height[middle & (pattern("palm") < 0.1)].min()


@pytest.mark.parametrize("where", [MAP, GLOVE], ids=["own", "glove"])
@pytest.mark.parametrize("finger", FINGERS)
def test_nails_are_on_the_backs_of_the_last_bones(finger, where):
    sites, anatomy, tip = hand_sites(HAND, anatomy_of(HAND), where.texels), anatomy_of(HAND), TIPS[FINGERS.index(finger)]
    joint, bone = anatomy.joints_m[tip - 1], anatomy.joints_m[tip] - anatomy.joints_m[tip - 1]
    own = sites.first & (pattern("nails", where) > 0.5) & (sites.weights[:, CANONICAL_FROM_MANO[tip - 1]] > 0.5)
    along = (sites.points_m[own] - joint) @ bone / (bone @ bone)
    assert own.sum() > 20 and along.min() > 0.35 and along.max() < 1.05
    normal = sites.normals[own].mean(0)
    assert normal @ anatomy.axes[CANONICAL_FROM_MANO[tip - 1]][:, 2] / np.linalg.norm(normal) > 0.9
    lunula, edge = (np.average((sites.points_m - joint) @ bone / (bone @ bone), weights=pattern(name, where) * own) for name in ("lunula", "free_edge"))
    assert lunula < along.mean() - 0.1 and edge > along.mean() + 0.1


def test_nails_shine_and_palms_do_not():
    sheen = painted(20).hand.roughness.ravel()[MAP.texels.places]
    assert sheen[pattern("nails") > 0.9].max() < 135 < sheen[BACK].mean() < sheen[PALM].mean()


def test_skin_is_dry_and_not_everyone_s_the_same():
    on_back = [painted(20, seed).hand.roughness.ravel()[MAP.texels.places][BACK].mean() for seed in range(20)]
    assert 138 < min(on_back) < 150 and 162 < max(on_back) < 178


@pytest.mark.parametrize("finger", FINGERS)
def test_nails_are_rounded_plates_that_curve_across(finger):
    """Their ends are narrower than their middle, they leave skin at both sides, and their bumps turn the normals outwards on either side."""
    anatomy, tip = anatomy_of(HAND), TIPS[FINGERS.index(finger)]
    part = CANONICAL_FROM_MANO[tip - 1]
    along, across = ((FINE_SITES.points_m - anatomy.joints_m[tip - 1]) @ anatomy.axes[part][:, axis] for axis in (0, 1))
    last = FINE_SITES.first & (FINE_SITES.weights[:, part] > 0.5)
    plate = last & (pattern("nails", FINE) > 0.5)
    grown = (along - along[plate].min()) / np.ptp(along[plate])
    first, middle, end = (np.ptp(across[plate & (np.abs(grown - at) < 0.05)]) for at in (0.05, 0.5, 0.95))
    assert max(first, end) < 0.9 * middle and middle < 0.75 * np.ptp(across[last])
    off_middle = np.abs(across - (across[plate].min() + across[plate].max()) / 2) / np.ptp(across[plate])
    bump = painted(20, where=FINE).hand.bump_m.ravel()[FINE.texels.places]
    heights = [bump[plate & (np.abs(grown - 0.5) < 0.2) & (np.abs(off_middle - at) < 0.08)].mean() for at in (0.08, 0.24, 0.4)]
    assert np.diff(heights).max() < -3e-5


def wrinkled(variant, where=MAP):
    return where.hand.drawn[variant, DRAWN.index("wrinkles")]


@pytest.mark.parametrize("variant", range(VARIANTS))
def test_wrinkles_lie_over_the_outer_joints_and_not_at_the_thumb_s_base(variant):
    anatomy = anatomy_of(HAND)
    places = SITES.points_m[wrinkled(variant) > 0.2]
    joints = [tip - back for tip in TIPS for back in ((2, 1) if tip != TIPS[0] else (1,))]
    away = np.linalg.norm(places[:, None] - anatomy.joints_m[joints], axis=2)
    assert away.min(1).max() < 0.016 and set(away.argmin(1)) == set(range(len(joints)))
    assert np.linalg.norm(places - anatomy.joints_m[TIPS[0] - 2], axis=1).min() > 0.01


def test_wrinkles_are_no_comb():
    """Along a finger's back they come at uneven gaps and in uneven depth, and across it they end, break off or wander; no two people or fingers have the same."""
    sites, anatomy, profiles = FINE_SITES, anatomy_of(HAND), []
    for variant in range(VARIANTS):
        for tip in TIPS[1:]:
            joint = tip - 2
            axes, offset = anatomy.axes[CANONICAL_FROM_MANO[joint]], sites.points_m - anatomy.joints_m[joint]
            for side_m in (-0.0025, 0.0025):
                ridge = (np.abs(offset @ axes[:, 1] - side_m) < 0.0005) & (offset @ axes[:, 2] > 0) & (np.abs(offset @ axes[:, 0]) < 0.007) & (sites.outward > 0.3)
                place, order = offset[ridge] @ axes[:, 0], np.argsort(offset[ridge] @ axes[:, 0])
                profiles.append(np.interp(np.linspace(-0.006, 0.006, 60), place[order], wrinkled(variant, FINE)[ridge][order]))
    profiles = np.array(profiles)
    assert (profiles.max(1) > 0.1).mean() > 0.9
    alike = np.corrcoef(profiles)[np.triu_indices(len(profiles), 1)]
    assert np.median(alike) < 0.5 and (alike > 0.9).mean() < 0.02
    spectra = np.abs(np.fft.rfft(profiles - profiles.mean(1, keepdims=True), axis=1)) ** 2
    mean = spectra.mean(0)
    assert mean.max() / mean.sum() < 0.35  # an even comb has its power at one frequency, the same for all


def test_hair_and_freckles_keep_off_palm_and_nails():
    for variant in MAP.hand.drawn:
        for name in ("hair", "freckles"):
            assert variant[DRAWN.index(name)][PALM | (pattern("nails") > 0.9)].max() < 0.1 < variant[DRAWN.index(name)].max()


def test_lines_folds_and_their_dents_are_in_the_palm():
    for variant in MAP.hand.drawn:
        assert variant[DRAWN.index("lines")][SITES.outward > 0.3].max() < 0.01
    assert pattern("folds")[SITES.outward > 0.3].max() < 0.01 and wrinkled(0)[SITES.outward < -0.3].max() < 0.01
    bump, deep = painted(20).hand.bump_m.ravel()[MAP.texels.places], pattern("folds") > 0.5
    assert -6e-4 < bump.min() < bump[deep].mean() < -5e-5 and bump.max() < 8e-4


@pytest.mark.parametrize("name", ["knuckles", "tips", "pads"])
def test_knuckles_and_finger_ends_are_redder(name):
    plain = (pattern(name) < 0.05) & (SITES.outward > 0.3 if name == "knuckles" else PALM) & (pattern("nails") < 0.02)
    strong = (pattern(name) > 0.7) & (SITES.outward > 0.3 if name == "knuckles" else PALM) & (pattern("nails") < 0.02)
    rises = [lab_of(c[strong].mean(0))[1] - lab_of(c[plain].mean(0))[1] for c in (texels_of(painted(45, seed)) for seed in range(12))]
    assert np.mean(rises) > 1


def test_no_part_of_a_hand_is_of_one_colour():
    colours = texels_of(painted(30))
    for part in range(16):
        own = SITES.weights[:, part] > 0.7
        assert (lab_of(colours[own]).std(0) > 0.3).all()


@pytest.mark.parametrize("name", FIXED)
def test_every_pattern_is_somewhere(name):
    values = pattern(name)
    assert values.max() > (0.3 if name != "inner" else 0.1) and (name == "grain" or values.min() >= 0)


# --- painting ---


def test_texels_of_no_site_have_the_tone_of_the_back():
    unpainted = np.setdiff1d(np.arange(256**2), MAP.texels.places)
    for ita in (50.0, -40.0):
        skin = painted(ita)
        colours = skin.hand.albedo.reshape(-1, 3)[unpainted]
        assert np.ptp(colours, 0).max() == 0 and ita_of(linear_from_srgb(colours[0] / 255)) == pytest.approx(ita, abs=2)


def test_painting_is_the_exponential_of_the_sum_of_the_patterns():
    """One texel at a time, without moles, and with sRGB's transfer function to the letter."""
    no_moles = replace(MAP, mole_sites=np.zeros(0, np.int64))
    skin, rng = painted(10.0, 4, no_moles), np.random.default_rng(4)
    rng.random()
    tone = log_tone(10.0, rng.normal(), rng.normal())
    amounts, variants = draw_amounts(10.0, tone, SkinConfig().varnish, rng), rng.integers(VARIANTS, size=len(DRAWN))
    values = np.concatenate([MAP.hand.fixed, np.stack([MAP.hand.drawn[v, k] for k, v in enumerate(variants)])]).astype(float)
    total = tone[:, None] + amounts[:, :3].T @ (values - values[:, SITES.first & (SITES.outward > 0.5) & (pattern("nails") == 0)].mean(1)[:, None])
    for texel in np.random.default_rng(0).integers(len(MAP.texels.places), size=200):
        expected = srgb_from_linear(np.exp(total[:, texel])) * 255
        np.testing.assert_allclose(skin.hand.albedo.reshape(-1, 3)[MAP.texels.places[texel]], expected, atol=0.8)
        height = skin.hand.bump_m.ravel()[MAP.texels.places[texel]]
        assert height == pytest.approx(amounts[:, 4] @ values[:, texel] * 1e-3 * MAP.true_size, abs=1e-7)


def test_an_arm_is_painted_with_the_patterns_that_it_has():
    """Those left out are nowhere on it: nails, knuckles, creases."""
    names = {PATTERNS[number] for number in MAP.arm.fixed_there} | {DRAWN[number] for number in MAP.arm.drawn_there}
    assert {"inner", "grain", "veins", "mottling", "blotches", "freckles", "hair"} <= names <= set(PATTERNS) - {*NAILS, "nail_folds", "tips", "knuckles", "lines", "wrinkles"}
    assert MAP.arm.fixed.any(1).all() and MAP.arm.drawn.any((0, 2)).all() and len(MAP.hand.fixed) == len(FIXED) and MAP.hand.drawn.shape[:2] == (VARIANTS, len(DRAWN))


def test_amounts_have_a_row_for_each_pattern():
    assert draw_amounts(0.0, log_tone(0.0), 0.1, np.random.default_rng(0)).shape == (len(PATTERNS), 5)


def test_the_same_draws_give_the_same_bits_and_others_another_person():
    one, same, other = painted(20, 1), painted(20, 1), painted(20, 2)
    for a, b in ((one.hand, same.hand), (one.arm, same.arm)):
        assert a.albedo.tobytes() == b.albedo.tobytes() and a.bump_m.tobytes() == b.bump_m.tobytes() and a.roughness.tobytes() == b.roughness.tobytes()
    assert np.abs(one.hand.albedo.astype(int) - other.hand.albedo).mean() > 1


def test_varnish_changes_nothing_but_nails():
    states = []
    for seed in range(6):
        skins = []
        for share in (0.0, 1.0):
            rng = np.random.default_rng(seed)
            skins.append(paint_skin(MAP, SkinConfig(varnish=share), 20.0, rng))
            states.append(rng.random())
        plain, varnished = (skin.hand.albedo.reshape(-1, 3)[MAP.texels.places].astype(int) for skin in skins)
        assert np.abs(plain - varnished)[pattern("nails") == 0].max() == 0
        np.testing.assert_array_equal(skins[0].arm.albedo, skins[1].arm.albedo)
        sheens = [skin.hand.roughness.ravel()[MAP.texels.places][pattern("nails") > 0.95].mean() for skin in skins]
        assert sheens[1] < sheens[0] - 15
    assert states[::2] == states[1::2]


@pytest.mark.parametrize("ita", np.linspace(*ITA_RANGE_DEG, 5))
def test_flat_skin_is_one_matt_colour_of_the_tone_asked_for(ita):
    skin = painted(ita, kind="flat")
    for material in (skin.hand, skin.arm):
        assert material.albedo.shape == (1, 1, 3) and material.reflectance == 0 and material.roughness[0, 0] == 255
        assert ita_of(linear_from_srgb(material.albedo[0, 0] / 255)) == pytest.approx(ita, abs=1.5)
    np.testing.assert_array_equal(skin.colours, np.ones_like(HAND.template_m))


def test_texture_size_is_as_asked():
    where = skin_map(HAND, 96)
    skin = painted(0, 0, where)
    assert skin.hand.albedo.shape == (96, 96, 3) and skin.hand.bump_m.shape == skin.hand.roughness.shape == (96, 96)


def test_files_of_mano_are_painted_too(tmp_path):
    write_mano(tmp_path)
    hand = load_hand("mano", mano_dir=tmp_path)
    where = skin_map(hand, 96)
    skin = painted(0, 0, where)
    assert skin.colours.shape == (778, 3) and np.isfinite(skin.hand.bump_m).all() and skin.hand.albedo.std() > 3


# --- arm ---


@pytest.mark.parametrize("where", [MAP, GLOVE], ids=["own", "glove"])
@pytest.mark.parametrize("ita", [60.0, 0.0, -45.0])
def test_the_arm_begins_with_the_colours_of_the_wrist(where, ita):
    """Eighths of the way along each edge of the loop, looked up on both sides as a renderer does."""
    loop, shares = where.wrist_loop, np.array([1, 3, 5, 7]) / 8
    ends = {(int(face[i]), int(face[(i + 1) % 3])): where.corner_uv[n, [(i + 1) % 3, i]] for n, face in enumerate(HAND.faces) for i in range(3)}
    edges = np.stack([ends[int(loop[(k + 1) % len(loop)]), int(loop[k])] for k in range(len(loop))])
    on_hand = (edges[:, :1] + shares[:, None] * (edges[:, 1:] - edges[:, :1])).reshape(-1, 2)
    on_arm = np.array([((k + share) / len(loop), 0.004) for k in range(len(loop)) for share in shares])
    for seed in range(3):
        skin = painted(ita, seed, where)
        difference = np.abs(looked_up(skin.hand.albedo, on_hand) - looked_up(skin.arm.albedo, on_arm))
        assert difference.mean() < 1 and np.quantile(difference, 0.95) < 2 and difference.max() < 3.5  # levels of 255


@pytest.mark.parametrize("ita", [50.0, -40.0])
def test_the_arm_goes_on_in_its_own_tone(ita):
    skins = [painted(ita, seed) for seed in range(6)]
    sites = arm_sites(HAND, anatomy_of(HAND), MAP.wrist_loop)
    outer, far = sites.outward > 0.5, sites.points_m[:, 1] < -0.1
    tones = [ita_of(linear_from_srgb(skin.arm.albedo.reshape(-1, 3)[outer & far] / 255).mean(0)) for skin in skins]
    assert np.abs(np.mean(tones) - ita) < 8
    inner = [ita_of(linear_from_srgb(skin.arm.albedo.reshape(-1, 3)[(sites.outward < -0.5) & far] / 255).mean(0)) for skin in skins]
    assert (np.array(inner) > tones).all()


def test_the_arm_has_no_seam_along_itself():
    """The first and the last column are neighbours: they differ no more than others do."""
    albedo = painted(10, 5).arm.albedo.astype(int)
    steps = np.abs(albedo - np.roll(albedo, 1, 1)).mean((0, 2))
    assert steps[0] < 2 * np.median(steps)


def test_a_hand_without_a_loop_has_an_arm_all_the_same():
    where = skin_map(replace(HAND, wrist_loop=np.zeros(0, np.int32)), 64)
    assert painted(10, 0, where).arm.albedo.std() > 1


# --- fields ---


def test_mottling_has_unit_variance_and_no_mean():
    points = np.random.default_rng(0).uniform(0, 1, (4000, 3))
    fields = np.stack([mottling(points, np.random.default_rng(seed), (0.012, 0.05)) for seed in range(20)])
    assert abs(fields.mean()) < 0.1 and fields.var() == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("strokes", [False, True])
def test_spots_are_the_sum_of_gaussians_or_the_most_of_them(strokes):
    rng = np.random.default_rng(0)
    points, centres = rng.random((300, 3)) * 0.02, rng.random((20, 3)) * 0.02
    radii, strengths = rng.uniform(0.001, 0.003, 20), rng.random(20) * 0.3
    squared = ((points[:, None] - centres) ** 2).sum(-1) / radii**2
    each = np.where(squared < 2.5**2, strengths * np.exp(-squared / 2), 0)
    expected = each.max(1) if strokes else np.minimum(each.sum(1), 1)
    np.testing.assert_allclose(spots(cKDTree(points), centres, radii, strengths, 0.0005, strokes=strokes), expected, atol=1e-9)


# --- users' own ---


def write_obj(path, colours, *, vertices=HAND.template_m, faces=True):
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = ["# a hand", *(" ".join(["v", *map(repr, map(float, [*v, *c]))]) for v, c in zip(vertices, colours, strict=True)), "vn 0 0 1"]
    path.write_text("\n".join(lines + ["f 1 2 3"] * faces))
    return path


def refs(folder, model=HAND, split=ALL):
    return list_skins(SkinConfig(folder=str(folder)), model, split)


def ref(path):
    return SkinRef(path.name, str(path), path.stat().st_size)


def test_without_a_folder_there_are_none():
    assert list_skins(SkinConfig(), HAND, ALL) == {"train": [], "val": [], "test": []}
    assert list_skins(SkinConfig(), HAND, SplitConfig(train=1, val=0, test=0)) == {"train": []}


@pytest.mark.parametrize("scale", [1, 255])
def test_vertex_colours_are_worn_as_they_are(tmp_path, scale):
    encoded = np.random.default_rng(0).random((len(HAND.template_m), 3))
    skin = own_skin(ref(write_obj(tmp_path / "a.obj", encoded * scale)), MAP)
    np.testing.assert_allclose(skin.colours, linear_from_srgb(encoded), atol=2e-5)
    assert skin.hand.albedo.tolist() == [[[255, 255, 255]]] and skin.hand.reflectance > 0 and skin.name == "a.obj"
    loop = srgb_from_linear((skin.colours[MAP.wrist_loop] + np.roll(skin.colours[MAP.wrist_loop], -1, 0)).astype(float) / 2) * 255
    middles = np.array([((k + 0.5) / len(loop), 0.004) for k in range(len(loop))])
    np.testing.assert_allclose(looked_up(skin.arm.albedo, middles), loop, atol=2)
    assert skin.arm.albedo[0].std(0).max() < 1  # far up, one colour


def test_pictures_are_worn_as_they_are(tmp_path):
    painted_one = painted(30, 6)
    Image.fromarray(painted_one.hand.albedo).save(tmp_path / "b.png")
    skin = own_skin(ref(tmp_path / "b.png"), MAP)
    np.testing.assert_array_equal(skin.hand.albedo, painted_one.hand.albedo)
    assert skin.hand.bump_m.shape == skin.hand.roughness.shape == (256, 256)
    np.testing.assert_allclose(skin.arm.albedo[-1].astype(float), painted_one.arm.albedo[-1], atol=2)


@pytest.mark.parametrize("ita", [-40.0, 0.0, 50.0])
def test_the_tone_of_an_own_skin_is_measured(tmp_path, ita):
    write_obj(tmp_path / "a.obj", np.tile(srgb_from_linear(np.exp(log_tone(ita))), (len(HAND.template_m), 1)))
    assert own_skin(ref(tmp_path / "a.obj"), MAP).ita_deg == pytest.approx(ita, abs=0.1)


def test_own_skins_are_worn_instead_of_painted_ones(tmp_path):
    for k in range(3):
        write_obj(tmp_path / f"{k}.obj", np.full_like(HAND.template_m, 0.2 * k + 0.2))
    own = refs(tmp_path, split=SplitConfig(train=1, val=0, test=0))["train"]
    worn = {paint_skin(MAP, SkinConfig(), 0.0, np.random.default_rng(seed), own).name for seed in range(30)}
    assert worn == {"0.obj", "1.obj", "2.obj"}


@pytest.mark.parametrize("count", [3, 4, 10, 37])
def test_splits_share_no_skin_and_none_is_left_out(tmp_path, count):
    for k in range(count):
        write_obj(tmp_path / f"{k}/skin.obj", np.full_like(HAND.template_m, 0.5))
    dealt = refs(tmp_path)
    names = [skin.name for split in SPLITS for skin in dealt[split]]
    assert len(names) == count == len(set(names)) and all(dealt.values())
    assert abs(len(dealt["train"]) - 0.8 * count) <= 2


def test_too_few_skins_are_shared(tmp_path, caplog):
    write_obj(tmp_path / "a.obj", np.full_like(HAND.template_m, 0.5))
    assert [len(skins) for skins in refs(tmp_path).values()] == [1, 1, 1]
    assert "only 1 skins for 3 splits" in caplog.text


def refusal(folder, model=HAND):
    with pytest.raises(UserError) as caught:
        refs(folder, model)
    assert "\n" not in str(caught.value) and str(caught.value).startswith(f"skin.folder {folder}")
    return str(caught.value)


def test_folders_that_are_no_use_are_refused(tmp_path):
    assert "no such folder" in refusal(tmp_path / "missing")
    (tmp_path / "notes.txt").touch()
    assert "holds no vertex-coloured .obj and no picture" in refusal(tmp_path)


def test_templates_of_another_hand_are_refused(tmp_path):
    write_obj(tmp_path / "a.obj", np.full((778, 3), 0.5), vertices=np.zeros((778, 3)))
    assert f"{tmp_path}/a.obj: has 778 coloured vertices, the hand in use (open) has 1,609; " in refusal(tmp_path)


@pytest.mark.parametrize(
    ("text", "what"),
    [("v 0 0 0\nf 1 1 1", "no colours"), ("", "no colours"), ("v 0 0 0 a b c", "cannot be read"), ("v 0 0 0 nan 0 0", "outside"), ("v 0 0 0 -1 0 0", "outside")],
)
def test_templates_without_colours_are_refused(tmp_path, text, what):
    (tmp_path / "a.obj").write_text(text)
    read_template.cache_clear()
    assert what in refusal(tmp_path)


def test_pictures_need_texture_coordinates_and_must_be_readable(tmp_path):
    path = tmp_path / "a.png"
    Image.new("RGB", (20, 20)).save(path)
    words = refusal(tmp_path, BARE)
    assert "(bare) has no texture coordinates for a picture" in words and "put MANO_UV_right.obj beside MANO's files" in words
    path.write_bytes(path.read_bytes()[:30])
    read_picture.cache_clear()
    assert "cannot be decoded" in refusal(tmp_path)


def test_painting_leaves_the_map_as_it_was():
    before = MAP.hand.fixed.copy(), MAP.hand.drawn.copy(), torch.initial_seed()
    painted(0, 7)
    assert before[2] == torch.initial_seed()
    np.testing.assert_array_equal(MAP.hand.fixed, before[0])
    np.testing.assert_array_equal(MAP.hand.drawn, before[1])


def test_a_kept_map_is_the_made_one_and_made_once(tmp_path, monkeypatch):
    monkeypatch.setenv("SEQGEN_CACHE", str(tmp_path))
    first = kept_skin_map(HAND, 256)
    monkeypatch.setattr(kept_map_module, "skin_map", None)  # another process has no need of it
    again = kept_skin_map(HAND, 256)
    for kept in (first, again):
        np.testing.assert_equal(asdict(kept), asdict(MAP))
        skins = [paint_skin(where, SkinConfig(), 20.0, np.random.default_rng(9)) for where in (kept, MAP)]
        for name in ("albedo", "roughness", "bump_m"):
            for part in ("hand", "arm"):
                np.testing.assert_array_equal(*(getattr(getattr(skin, part), name) for skin in skins))
    assert [type(again.vertices), type(again.true_size)] == [int, float] and not again.hand.fixed.flags.writeable
    monkeypatch.undo()
    monkeypatch.setenv("SEQGEN_CACHE", str(tmp_path))
    for hand, size in ((HAND, 64), (BARE, 64)):
        np.testing.assert_equal(asdict(kept_skin_map(hand, size)), asdict(skin_map(hand, size)))
    assert len(list(tmp_path.iterdir())) == 3


def test_rest_joints_and_sites_share_their_frame():
    """The tips' own vertices lie among the sites, at the tips of the anatomy."""
    away = SITES.tree.query(anatomy_of(HAND).joints_m[list(TIPS)])[0]
    assert away.max() < 0.002
    np.testing.assert_allclose(anatomy_of(HAND).true_size * 0.095, np.linalg.norm(rest_joints_m(HAND)[9] - rest_joints_m(HAND)[0]), rtol=1e-5)
