"""Named hand shapes of a right hand as joint angles in degrees, how far each joint goes, and the joints that a skeleton has at such angles.

A shape is (thumb, index, middle, ring, pinky). Zero is a straight finger in line with the middle metacarpal.

    thumb    CMC flexion     across the palm; 0 points 45 degrees to the thumb's side of the middle metacarpal
             CMC abduction   out of the palm plane, to the palm's side; 0 lies in the plane
             CMC opposition  turns the thumb's pad to the palm (pronation); at 0 the thumb bends almost parallel to the palm, as it does at rest
             MCP flexion, IP flexion
    fingers  MCP flexion, MCP abduction (away from the middle finger; of the middle finger: to the thumb's side), PIP flexion, DIP flexion

Fingers were set by hand: curling fingers with the DIP at about 2/3 of the PIP (Rijpkema and Girard 1991), less where the pad presses on something,
neighbours following one another, the ring finger most (Haeger-Ross and Schieber 2000). Thumbs that touch something were solved for it by least squares on the
nominal skeleton: tips that pinch are 11-18 mm apart, a thumb that lies on a finger keeps 16-20 mm between the middles of both.

Limits: fingers' flexion and the thumb's MCP and IP after Hume et al. 1990 (active: MCP 100, PIP 105, DIP 85, thumb MCP 56 and IP 73 degrees) and the norms of the
AAOS (Greene and Heckman 1994: PIP 100, DIP 90, thumb IP 80; MCP extension to 45); the PIP's 110 is from Lin, Wu and Huang 2000.
Thumb CMC: some 53 degrees of flexion and 42 of abduction about a trapezium that is itself turned 48, 38 and 80 degrees to the palm (Cooney et al. 1981),
70 of abduction in the AAOS norms. Spread: 17, 14 and 32 degrees between neighbours on average (Chatzioglou et al. 2024), more for supple hands.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from seqgen.skeleton import FINGERS, MCPS, PALM_M, hand_frame

Array = np.ndarray
Finger = tuple[int, int, int, int]
Shape = tuple[tuple[int, int, int, int, int], Finger, Finger, Finger, Finger]

_THUMB = ("cmc_flexion", "cmc_abduction", "cmc_opposition", "mcp_flexion", "ip_flexion")
_FINGER = ("mcp_flexion", "mcp_abduction", "pip_flexion", "dip_flexion")
ANGLE_NAMES = (*(f"thumb_{joint}" for joint in _THUMB), *(f"{finger}_{joint}" for finger in FINGERS[1:] for joint in _FINGER))
FINGER_OF_ANGLE = (0,) * 5 + (1,) * 4 + (2,) * 4 + (3,) * 4 + (4,) * 4
MCP_FLEXION, MCP_ABDUCTION, PIP_FLEXION, DIP_FLEXION = (tuple(range(first, 21, 4)) for first in (5, 6, 7, 8))

LOWEST: Shape = ((-15, 0, -20, -12, -15), (-20, -12, -8, -8), (-20, -10, -8, -8), (-20, -12, -8, -8), (-20, -18, -8, -8))
HIGHEST: Shape = ((55, 62, 40, 56, 80), (95, 22, 110, 85), (95, 10, 110, 85), (95, 20, 110, 85), (95, 38, 110, 85))

# Bones as shares of the hand's length: thumb metacarpal, then phalanges of thumb and fingers; 0.446 is wrist to middle MCP (Buchholz, Armstrong and Goldstein 1992).
BONE_SHARES = ((0.251, 0.196, 0.158), (0.245, 0.143, 0.097), (0.266, 0.170, 0.108), (0.244, 0.165, 0.107), (0.204, 0.117, 0.093))
# Annotated skeletons and hand models have the MCPs nearer to the fingers' webs than bones have: middle finger to palm is 0.85-0.95 there, 1.22 in bones. We lie between.
FINGER_SCALE = 0.85
# Thumb CMC and the MCPs at a 95 mm palm: the axial and lateral places of Buchholz et al., the thumb's brought out of the palm plane, and a flat palmar arch.
BASES_MM = ((-22.0, 22.0, -13.0), (-24.0, 94.0, -5.5), (0.0, 95.0, 0.0), (20.0, 88.0, -1.0), (38.0, 77.5, -4.5))
FINGER_ROLL = (-3.0, 0.0, 6.0, 14.0)  # degrees about the finger that turn its bending towards the scaphoid, where bent fingers point
THUMB_REST = (45.0, 0.0, 80.0)  # degrees where the three CMC angles are zero: to the thumb's side, out of the palm plane, pronated (80 in Cooney et al. 1981)

# The 33 grasps of the GRASP taxonomy (Feix et al. 2016), under their names there.
GRASPS = {
    "large_diameter":          (( 20,  50,   5,  10,  20), ( 25,   6,  40,  22), ( 28,   0,  42,  24), ( 28,   4,  42,  24), ( 25,  12,  40,  24)),
    "small_diameter":          (( 43,  47,  10,  27,  40), ( 62,  -1,  75,  42), ( 66,   0,  80,  46), ( 68,   0,  82,  48), ( 68,   4,  78,  46)),
    "medium_wrap":             (( 30,  48,  10,  18,  30), ( 45,   2,  58,  32), ( 48,   0,  62,  36), ( 50,   2,  63,  38), ( 48,   8,  60,  36)),
    "adducted_thumb":          (( 32,  18,   0,   9,   5), ( 62,  -1,  62,  36), ( 66,   0,  70,  42), ( 70,   0,  74,  46), ( 72,   4,  72,  46)),
    "light_tool":              (( 30,  25,   5,   9,  16), ( 58,  -2,  80,  45), ( 64,   0,  88,  52), ( 70,   0,  92,  56), ( 74,   3,  90,  56)),
    "prismatic_4_finger":      (( 37,  48,  20,   9,  12), ( 58,   3,  38,  18), ( 62,   0,  36,  17), ( 62,   1,  38,  18), ( 58,   5,  40,  20)),
    "prismatic_3_finger":      (( 37,  47,  20,  10,  13), ( 56,   2,  40,  18), ( 61,   0,  38,  18), ( 62,   0,  42,  20), ( 72,   4,  74,  46)),
    "prismatic_2_finger":      (( 37,  47,  18,  11,  13), ( 54,   1,  42,  18), ( 60,   0,  40,  18), ( 75,   0,  82,  50), ( 78,   3,  78,  48)),
    "palmar_pinch":            (( 38,  39,  15,  13,  15), ( 58,   0,  37,  17), ( 40,   0,  38,  22), ( 36,   2,  40,  24), ( 32,   6,  38,  24)),
    "power_disk":              ((  8,  45,   0,  15,  30), ( 20,  14,  62,  38), ( 22,   4,  60,  38), ( 22,  14,  60,  38), ( 22,  28,  58,  36)),
    "power_sphere":            (( 12,  52,   5,  12,  25), ( 32,  14,  50,  30), ( 35,   3,  50,  32), ( 36,  13,  50,  32), ( 36,  26,  48,  30)),
    "precision_disk":          ((  6,  42,   0,   8,  18), ( 18,  15,  38,  22), ( 20,   4,  38,  22), ( 20,  13,  38,  22), ( 20,  26,  36,  22)),
    "precision_sphere":        (( 16,  52,  10,   8,  18), ( 34,  12,  36,  20), ( 38,   3,  36,  20), ( 38,  10,  36,  20), ( 36,  22,  36,  20)),
    "tripod":                  (( 36,  46,  18,  11,  20), ( 52,   3,  36,  16), ( 56,   0,  34,  14), ( 70,   0,  70,  44), ( 72,   4,  68,  44)),
    "fixed_hook":              (( 22,  32,   0,  12,  15), ( 15,  -1,  82,  50), ( 16,   0,  86,  54), ( 17,   0,  88,  55), ( 18,   3,  84,  52)),
    "lateral":                 (( 26,  29,   0,  11,  19), ( 55,   0,  70,  38), ( 60,   0,  74,  42), ( 62,   0,  76,  44), ( 62,   3,  74,  44)),
    "index_finger_extension":  (( 36,  38,   8,  20,  35), ( 22,   0,  12,   6), ( 68,   0,  84,  48), ( 72,   0,  86,  50), ( 72,   3,  82,  48)),
    "extension_type":          (( 20,  42,   5,   2,  -4), ( 55,   4,  12,   4), ( 58,   0,  10,   3), ( 58,   3,  12,   4), ( 54,   9,  14,   6)),
    "distal_type":             (( 22,  42,   8,  20,  38), ( 45,   6,  45,  22), ( 40,  -2,  55,  30), ( 42,   2,  58,  34), ( 44,   6,  58,  36)),
    "writing_tripod":          (( 26,  41,  15,  18,  24), ( 48,   2,  42,  12), ( 52,   0,  50,  26), ( 58,   0,  66,  40), ( 60,   3,  66,  42)),
    "tripod_variation":        (( 26,  42,  15,  11,  20), ( 46,   0,  42,  20), ( 50,   4,  44,  22), ( 56,   0,  60,  36), ( 58,   4,  60,  38)),
    "parallel_extension":      (( 34,  31,  10,   2,   1), ( 66,   1,   2,   0), ( 68,   0,   0,   0), ( 68,   1,   2,   0), ( 66,   6,   4,   2)),
    "adduction_grip":          (( 18,  24,   0,   8,  10), ( 10,  -2,  14,   8), ( 14,   2,  16,  10), ( 35,   0,  45,  28), ( 42,   4,  50,  32)),
    "tip_pinch":               (( 25,  48,  18,  15,  40), ( 50,   0,  52,  35), ( 38,   0,  40,  24), ( 34,   2,  40,  25), ( 30,   6,  38,  24)),
    "lateral_tripod":          (( 22,  30,   5,  11,  24), ( 52,   1,  62,  34), ( 58,   0,  66,  38), ( 62,   0,  70,  42), ( 62,   3,  68,  42)),
    "sphere_4_finger":         (( 23,  48,  12,  12,  21), ( 42,   8,  40,  22), ( 45,   1,  40,  22), ( 44,   6,  42,  24), ( 60,  12,  62,  38)),
    "quadpod":                 (( 32,  46,  18,  11,  22), ( 50,   6,  36,  18), ( 54,   0,  34,  16), ( 52,   5,  36,  18), ( 66,   6,  60,  38)),
    "sphere_3_finger":         (( 26,  53,  12,  14,  22), ( 42,  10,  40,  22), ( 46,  -2,  40,  22), ( 66,   2,  66,  42), ( 68,   6,  64,  42)),
    "stick":                   (( 27,  28,   5,   9,  19), ( 48,  -1,  66,  36), ( 58,   0,  76,  44), ( 66,   0,  84,  50), ( 70,   3,  82,  50)),
    "palmar_grip":             ((  5,  40,   0,  10,  20), ( 35,   2,  12,   6), ( 38,   0,  12,   6), ( 38,   1,  14,   8), ( 36,   4,  16,  10)),
    "ring_grip":               (( 18,  51,  10,  12,  25), ( 40,   2,  46,  24), ( 62,   0,  70,  42), ( 66,   0,  74,  46), ( 66,   4,  72,  46)),
    "ventral":                 (( 34,  36,   5,  18,  28), ( 40,   0,  30,  14), ( 70,   0,  84,  50), ( 74,   0,  88,  54), ( 74,   3,  84,  52)),
    "inferior_pincer":         (( 34,  43,  18,   7,   2), ( 61,   0,  29,   9), ( 20,   0,  28,  18), ( 18,   3,  28,  18), ( 16,   8,  26,  16)),
}

# Counting, two and three in two ways each: two also as `victory`, three also beginning with the thumb.
COUNTING = {
    "count_0":                 (( 31,  50,  18,  14,  26), ( 55,   0,  55,  28), ( 62,   0,  52,  28), ( 64,   0,  54,  30), ( 62,   0,  54,  30)),
    "count_1":                 (( 39,  43,  20,  35,  45), (  3,   0,   5,   3), ( 82,   0,  98,  62), ( 84,   0,  98,  64), ( 80,   2,  94,  60)),
    "count_2":                 (( 39,  43,  22,  37,  44), (  2,  10,   4,   2), (  2,  -6,   4,   2), ( 80,   0,  96,  60), ( 78,   2,  94,  60)),
    "count_3":                 (( 50,  41,  25,  37,  44), (  2,   9,   4,   2), (  2,   0,   4,   2), (  5,   9,   6,   4), ( 72,   4,  88,  56)),
    "count_3_thumb":           (( -4,  18,   0,   0,   0), (  2,   9,   4,   2), (  2,  -5,   4,   2), ( 76,   0,  94,  60), ( 78,   3,  92,  58)),
    "count_4":                 (( 27,  20,  27,  56,  66), (  2,   9,   4,   2), (  2,   1,   4,   2), (  3,   8,   5,   3), (  3,  22,   5,   3)),
    "count_5":                 (( -8,  18,  -3,   0,   0), (  0,  14,   2,   0), (  0,   2,   2,   0), (  0,  12,   2,   0), (  0,  26,   2,   0)),
}

# Letters of the American finger alphabet; S is `fist`, V `victory`, W `count_3`.
ALPHABET = {
    "letter_a":                (( 29,  20,  -5,   2,   4), ( 85,  -3, 100,  65), ( 87,   0, 102,  68), ( 87,   0, 102,  68), ( 85,   2,  98,  65)),
    "letter_b":                (( 26,  17,  24,  54,  73), (  0,  -5,   2,   0), (  0,   0,   2,   0), (  0,  -1,   2,   0), (  0,  -2,   2,   0)),
    "letter_c":                (( 14,  48,   8,   8,  22), ( 36,  -2,  46,  26), ( 38,   0,  46,  26), ( 38,   0,  46,  28), ( 36,   0,  44,  28)),
    "letter_d":                (( 31,  50,  18,  16,  31), (  3,   0,   6,   3), ( 60,   0,  58,  32), ( 64,   0,  60,  34), ( 66,   2,  60,  34)),
    "letter_e":                (( 42,  39,  22,  33,  50), ( 35,  -3, 102,  66), ( 38,   0, 104,  66), ( 38,   0, 104,  66), ( 36,   1, 100,  64)),
    "letter_f":                (( 23,  49,  18,  11,  30), ( 54,   0,  55,  30), (  4,  -2,   6,   3), (  3,   8,   5,   3), (  3,  20,   5,   3)),
    "letter_i":                (( 32,  50,  22,  40,  49), ( 82,  -3, 100,  62), ( 84,   0, 100,  64), ( 82,   0,  96,  62), (  8,  10,   6,   4)),
    "letter_k":                (( 38,  13,  15,  32,  25), (  4,   4,   6,   3), ( 38,  -2,  10,   5), ( 78,   0,  96,  60), ( 78,   3,  92,  58)),
    "letter_l":                (( -2,  12,   0,   0,  -5), (  2,   2,   4,   2), ( 82,   0,  98,  62), ( 84,   0,  98,  64), ( 80,   2,  94,  60)),
    "letter_m":                (( 50,  56,  18,  46,  26), ( 62,   0,  80,  34), ( 64,   0,  80,  34), ( 64,   1,  80,  34), ( 80,   3,  95,  60)),
    "letter_n":                (( 17,  35,  13,  56,  46), ( 62,   0,  80,  34), ( 64,   0,  80,  34), ( 80,   2,  98,  62), ( 80,   4,  95,  60)),
    "letter_o":                (( 31,  50,  18,  16,  30), ( 52,  -3,  54,  32), ( 55,   0,  54,  32), ( 56,   0,  56,  34), ( 55,   0,  54,  34)),
    "letter_r":                (( 41,  43,  22,  35,  45), ( 12,  -8,   8,   4), (  0,   8,   4,   2), ( 80,   0,  96,  60), ( 78,   0,  94,  60)),
    "fist":                    (( 34,  50,  24,  39,  54), ( 85,  -3, 100,  65), ( 87,   0, 102,  68), ( 87,   0, 102,  68), ( 85,   2,  98,  65)),
    "letter_t":                (( 20,  29,   9,  20,  32), ( 62,  -2,  92,  56), ( 84,   0, 100,  64), ( 85,   0, 100,  64), ( 82,   2,  96,  62)),
    "letter_u":                (( 41,  43,  22,  35,  45), (  2,  -5,   4,   2), (  2,   2,   4,   2), ( 80,   0,  96,  60), ( 78,   2,  94,  60)),
    "letter_x":                (( 34,  40,  15,  29,  41), ( 12,   0,  82,  50), ( 82,   0,  98,  62), ( 84,   0,  98,  64), ( 80,   2,  94,  60)),
    "letter_y":                (( -8,  16,  -3,   0,  -5), ( 80,  -2,  98,  62), ( 82,   0, 100,  64), ( 78,   0,  94,  60), (  6,  26,   8,   5)),
}

# Gestures and opposition.
GESTURES = {
    "thumbs_up":               ((-10,  16,  -5,  -6, -10), ( 85,  -3, 100,  65), ( 87,   0, 102,  68), ( 87,   0, 102,  68), ( 85,   2,  98,  65)),
    "point":                   (( 26,  30,   2,  10,  18), (  2,   0,   4,   2), ( 76,   0,  94,  58), ( 78,   0,  94,  60), ( 75,   3,  90,  56)),
    "ok":                      (( 25,  44,  15,  11,  22), ( 49,   2,  48,  26), ( 22,   0,  24,  14), ( 14,   6,  18,  12), (  8,  18,  14,   9)),
    "victory":                 (( 43,  44,  22,  34,  44), (  0,  16,   3,   1), (  0,  -9,   3,   1), ( 78,   0,  94,  60), ( 76,   2,  92,  58)),
    "horns":                   (( 36,  42,  18,  32,  42), (  3,   6,   5,   3), ( 82,   0,  98,  62), ( 80,   0,  94,  60), (  5,  18,   6,   4)),
    "i_love_you":              (( -8,  16,  -3,   0,   0), (  2,   8,   4,   2), ( 80,   0,  96,  60), ( 78,   0,  92,  58), (  4,  20,   6,   4)),
    "call_me":                 (( -6,  34,   0,   0,   0), ( 72,  -2,  92,  58), ( 76,   0,  94,  60), ( 72,   0,  90,  56), ( 22,  20,  10,   6)),
    "gun":                     (( 10,  10,  -5,   0,  -8), (  3,  -3,   4,   2), (  5,   3,   6,   3), ( 80,   0,  96,  60), ( 78,   2,  92,  58)),
    "flat":                    (( 36,  10,  -5,   4,   4), (  0,  -5,   1,   0), (  0,   0,   1,   0), (  0,  -2,   1,   0), (  0,  -2,   1,   0)),
    "spread":                  ((-12,  24,  -5,  -5,  -8), ( -8,  20,  -2,  -2), ( -8,   3,  -2,  -2), ( -8,  16,  -2,  -2), ( -8,  32,  -2,  -2)),
    "stop":                    ((  8,  16,  -5,   0,  -4), (-15,   3,   2,   0), (-16,   0,   2,   0), (-15,   3,   2,   0), (-13,   8,   2,   0)),
    "claw":                    ((  4,  34,   0,  10,  45), ( -5,  12,  72,  45), ( -5,   3,  74,  48), ( -4,  10,  74,  48), ( -4,  22,  70,  45)),
    "hook":                    (( 20,  34,   0,  14,  30), (  0,  -2,  92,  58), (  0,   0,  95,  62), (  0,   0,  95,  62), (  0,   2,  90,  58)),
    "bent_flat":               (( 30,  14,   0,   6,   6), ( 78,  -3,   6,   3), ( 80,   0,   6,   3), ( 80,   0,   8,   4), ( 78,   0,  10,   6)),
    "duck":                    (( 43,  48,  18,   6,   5), ( 66,  -3,  26,  12), ( 69,   0,  24,  11), ( 68,   0,  26,  12), ( 63,  -1,  30,  15)),
    "purse":                   (( 37,  49,  20,  11,  17), ( 58,  -4,  36,  18), ( 61,   0,  39,  18), ( 64,  -4,  38,  18), ( 68,  -8,  36,  18)),
    "cup":                     (( 22,  42,   5,  14,  22), ( 28,  -4,  32,  20), ( 32,   0,  34,  22), ( 34,  -3,  36,  22), ( 36,  -4,  36,  22)),
    "vulcan":                  ((  0,  16,  -5,   0,  -4), (  0,   8,   3,   1), (  0,  10,   3,   1), (  1,  16,   3,   2), (  1,  14,   3,   2)),
    "ring_touch":              (( 41,  55,  25,  20,  30), ( 12,   2,  16,   9), ( 22,   0,  28,  16), ( 63,   0,  50,  27), ( 34,   4,  38,  22)),
    "pinky_touch":             (( 39,  61,  30,  33,  46), ( 14,   2,  18,  10), ( 22,   0,  26,  16), ( 40,   0,  40,  24), ( 66,  -6,  44,  25)),
}

# Hands that do nothing.
RELAXED = {
    "relaxed":                 (( 16,  36,   2,  12,  15), ( 20,   0,  28,  15), ( 26,   0,  34,  20), ( 30,   2,  36,  22), ( 32,   6,  36,  23)),
    "resting":                 (( 22,  42,   5,  18,  24), ( 32,  -1,  46,  27), ( 40,   0,  52,  32), ( 45,   1,  54,  34), ( 48,   4,  52,  34)),
    "half_open":               ((  8,  36,   0,  10,  14), ( 14,   7,  18,  10), ( 16,   0,  20,  12), ( 17,   9,  20,  13), ( 16,  19,  20,  13)),
    "slack":                   (( 18,  30,  -3,   8,  10), (  8,   2,  20,  10), ( 14,  -1,  26,  15), ( 18,   6,  28,  17), ( 18,  14,  26,  16)),
}

SHAPES: dict[str, Shape] = GRASPS | COUNTING | ALPHABET | GESTURES | RELAXED


def shape_rad(shape: Shape) -> Float[Array, "21"]:
    """The 21 angles of a shape in the order of ANGLE_NAMES, in radians."""
    return np.radians([angle for digit in shape for angle in digit])


def shape_angles_rad() -> Float[Array, "shapes 21"]:
    """All shapes in the order of SHAPES, in radians."""
    return np.stack([shape_rad(shape) for shape in SHAPES.values()])


def limits_rad() -> Float[Array, "2 21"]:
    """Lowest and highest angles, in radians."""
    return np.stack([shape_rad(LOWEST), shape_rad(HIGHEST)])


def within_limits(angles_rad: Float[Array, "*batch 21"], limits_rad: Float[Array, "2 21"]) -> Float[Array, "*batch 21"]:
    """Angles brought inside their limits. A bent finger cannot be spread: its collateral ligaments tighten, to 3/10 of the range at 90 degrees."""
    inside = np.clip(angles_rad, limits_rad[0], limits_rad[1])
    freedom = 1.0 - 0.7 * np.clip(inside[..., MCP_FLEXION] / (np.pi / 2), 0.0, 1.0)
    sideways = limits_rad[:, MCP_ABDUCTION]
    inside[..., MCP_ABDUCTION] = np.clip(inside[..., MCP_ABDUCTION], freedom * sideways[0], freedom * sideways[1])
    return inside


@dataclass(frozen=True)
class HandBones:
    """What does not move: thumb CMC and MCPs in the hand frame, three bones a digit from palm to tip, and the directions in which angles are zero."""

    bases_m: Float[Array, "5 3"]
    bones_m: Float[Array, "5 3"]
    finger_roll_rad: Float[Array, "4"]
    thumb_rest_rad: Float[Array, "3"]


def nominal_bones() -> HandBones:
    """The hand that the shapes were made for."""
    bones_m = np.array(BONE_SHARES) * (FINGER_SCALE * PALM_M / 0.446)
    return HandBones(framed_bases(np.array(BASES_MM) / 1e3), bones_m, np.radians(FINGER_ROLL), np.radians(THUMB_REST))


def framed_bases(bases_m: Float[Array, "5 3"]) -> Float[Array, "5 3"]:
    """Bases turned and scaled so that the hand frame they span is the identity, and the palm 95 mm."""
    joints = np.zeros((1, 21, 3))
    joints[0, [1, *MCPS]] = bases_m
    return hand_frame(joints).normalise(joints)[0, [1, *MCPS]]


def forward_kinematics(angles_rad: Float[Array, "*batch 21"], bones: HandBones) -> Float[Array, "*batch 21 3"]:
    """The 21 joints, metres in the hand frame, of joint angles in the order of ANGLE_NAMES.

    A digit bends in one plane: with `along` the way its first bone points and `bending` the way it bends, each bone points to cos(b) along + sin(b) bending,
    b being the sum of the hinges before it.
    """
    along, bending = _digit_planes(angles_rad, bones)
    fingers = angles_rad[..., 5:].reshape(*angles_rad.shape[:-1], 4, 4)
    hinges = np.concatenate([angles_rad[..., None, 3:5], fingers[..., 2:]], -2)
    bend = np.concatenate([np.zeros_like(hinges[..., :1]), np.cumsum(hinges, -1)], -1)[..., None]
    segments = (np.cos(bend) * along[..., None, :] + np.sin(bend) * bending[..., None, :]) * bones.bones_m[:, :, None]
    reached = np.concatenate([np.zeros_like(segments[..., :1, :]), np.cumsum(segments, -2)], -2)
    digits = (bones.bases_m[:, None] + reached).reshape(*angles_rad.shape[:-1], 20, 3)
    return np.concatenate([np.zeros_like(digits[..., :1, :]), digits], -2)


def _digit_planes(angles_rad: Float[Array, "*batch 21"], bones: HandBones) -> tuple[Float[Array, "*batch 5 3"], Float[Array, "*batch 5 3"]]:
    """For each digit the direction of its first bone, and the direction at right angles to it in which the digit bends."""
    thumb, thumb_bending = _thumb_plane(angles_rad[..., :3], bones.thumb_rest_rad)
    fingers = angles_rad[..., 5:].reshape(*angles_rad.shape[:-1], 4, 4)
    flexion, abduction = fingers[..., 0], fingers[..., 1] * np.array([1.0, 1.0, -1.0, -1.0])  # about z: to the thumb's side
    along = _about_y(-np.sin(abduction), np.cos(abduction) * np.cos(flexion), -np.cos(abduction) * np.sin(flexion), bones.finger_roll_rad)
    bending = _about_y(np.zeros_like(flexion), -np.sin(flexion), -np.cos(flexion), bones.finger_roll_rad)
    return np.concatenate([thumb[..., None, :], along], -2), np.concatenate([thumb_bending[..., None, :], bending], -2)


def _about_y(x: Array, y: Array, z: Array, angle_rad: Array) -> Float[Array, "*batch 3"]:
    """Vectors turned about the y axis: the palm's side (-z) goes to the thumb's side (-x)."""
    return np.stack([x * np.cos(angle_rad) + z * np.sin(angle_rad), y, z * np.cos(angle_rad) - x * np.sin(angle_rad)], -1)


def _thumb_plane(cmc_rad: Float[Array, "*batch 3"], rest_rad: Float[Array, "3"]) -> tuple[Float[Array, "*batch 3"], Float[Array, "*batch 3"]]:
    """Direction of the thumb's metacarpal and the direction in which the thumb bends. The CMC is a saddle: across the palm, out of it, and a turn about the bone."""
    side, out, turn = rest_rad[0] - cmc_rad[..., 0], rest_rad[1] + cmc_rad[..., 1], rest_rad[2] + cmc_rad[..., 2]
    along = np.stack([-np.sin(side) * np.cos(out), np.cos(side) * np.cos(out), -np.sin(out)], -1)
    across = np.stack([np.cos(side), np.sin(side), np.zeros_like(side)], -1)
    back = np.stack([-np.sin(side) * np.sin(out), np.cos(side) * np.sin(out), np.cos(out)], -1)
    return along, np.sin(turn)[..., None] * across - np.cos(turn)[..., None] * back
