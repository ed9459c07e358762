"""What the numbers of a data set mean, in words that go into every `dataset.json`. Stated once, derived from the constants where there are any."""

from typing import Any

from seqgen.dataset.sequence import DEPTH_UNIT_M, HAND_PARTS, NOT_HIDDEN, NOTHING_THERE
from seqgen.skeleton import JOINT_NAMES, PALM_M, PARENTS, PART_ARM, PART_BACKGROUND, PART_OCCLUDER, PART_PALM

MANO_FINGERS = ("index", "middle", "pinky", "ring", "thumb")  # the order of MANO's 15 finger joints, three each
SEGMENTS = ("proximal", "middle", "distal")
THUMB_SEGMENTS = ("metacarpal", "proximal", "distal")
FLESH_M = (-0.003, 0.035)  # the surface through which a joint counts as seen is nearer than the joint by at least and at most this


def part_names() -> dict[int, str]:
    """Part label of a picture -> its name."""
    fingers = [f"{finger}_{segment}" for finger in MANO_FINGERS for segment in (THUMB_SEGMENTS if finger == "thumb" else SEGMENTS)]
    return {PART_BACKGROUND: "background", PART_PALM: "palm", **dict(enumerate(fingers, PART_PALM + 1)), PART_ARM: "arm", PART_OCCLUDER: "occluder"}


def conventions() -> dict[str, Any]:
    """The `conventions` of `dataset.json`."""
    return {
        "units": "metres, radians, seconds; a name that ends in _px is in pixels",
        "camera_axes": "x right, y down, z forward (OpenCV); camera_from_world maps world points into the camera",
        "world_axes": "x right, y down (gravity), z forward",
        "intrinsics": (
            "perspective clips: the pinhole matrix K, px = (K X)_xy / (K X)_z; "
            "weak_perspective clips (meta.camera.kind): [[s, 0, tx], [0, s, ty], [0, 0, 1]], px = s x + tx, s y + ty with x, y in the camera frame, whatever z"
        ),
        "pixels": "pixel centres at integers: (0, 0) is the centre of the top left pixel",
        "depth": f"uint16, one count is {DEPTH_UNIT_M:g} m along z, sampled at the pixel's centre; 0 = nothing",
        "depth_sensor": "the same unit, as the depth camera of meta.sensor.depth would see it; 0 = it sees nothing",
        "flow": "float32 (x, y): by how many pixels what is seen at this pixel's centre has moved in the next stored frame; zeros in the last one",
        "normals": "outward unit normals in the camera frame, byte = (n + 1) / 2 * 255 rounded; (0, 0, 0) = nothing",
        "masks": f"255 where the hand (parts {HAND_PARTS[0]} to {HAND_PARTS[-1]}) is seen (mask_visible) or would be if nothing were before it (mask_amodal), else 0",
        "joints": list(JOINT_NAMES),
        "joint_parents": list(PARENTS),
        "joints_visible": (
            "the nearest surface at the joint's pixel (rounded, within the picture) belongs to a part that the joint connects, and lies along z from "
            f"{-FLESH_M[0] * 1000:g} mm behind to {FLESH_M[1] * 1000:g} mm before the joint"
        ),
        "joints_hidden_by": (
            f"{NOT_HIDDEN} where the joint is visible, else the part label of the nearest surface at its pixel, "
            f"or {NOTHING_THERE} where that pixel is background or outside the picture"
        ),
        "boxes": (
            "x0, y0, x1, y1: box_px bounds all projected vertices of the hand, hidden or outside the picture too; "
            "box_visible_px bounds the hand's pixels along their outer edges (half a pixel beyond their centres), zeros where none is seen"
        ),
        "parts": {str(label): name for label, name in part_names().items()},
        "hand_frame": f"origin at the wrist, y to the middle MCP, z out of the back of the hand, right-handed; {PALM_M * 1000:g} mm from wrist to middle MCP",
        "hand_parameters": "MANO's, of right hands: pose is axis-angle with the global rotation first, relative to the hand model's template (no mean pose is added)",
        "hands": (
            "right, or left where meta.hand.side says so: a left hand is a right one in a mirrored world (x negated, in the camera and the world), with all labels, "
            "but pose, betas, translation_m and flow_joints_m are those of the right hand before the mirror"
        ),
        "weak_perspective": "scale (px/m), tx, ty (px): least squares of joints_px on root-relative camera-frame xy; weak_perspective_residual_px is the RMS it leaves",
        "groups": "sequences of one meta.group show the same motion at the same time from several cameras; the group is the index of the first",
    }
