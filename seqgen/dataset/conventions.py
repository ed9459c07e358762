"""What the numbers of a data set mean, in words that go into every `dataset.json`. Stated once, derived from the constants where there are any."""

from typing import Any

from seqgen.dataset.sequence import DEPTH_UNIT_M
from seqgen.skeleton import JOINT_NAMES, PALM_M, PARENTS, PART_ARM, PART_BACKGROUND, PART_OCCLUDER, PART_PALM

MANO_FINGERS = ("index", "middle", "pinky", "ring", "thumb")  # the order of MANO's 15 finger joints, three each
SEGMENTS = ("proximal", "middle", "distal")
THUMB_SEGMENTS = ("metacarpal", "proximal", "distal")


def part_names() -> dict[int, str]:
    """Part label of a picture -> its name."""
    fingers = [f"{finger}_{segment}" for finger in MANO_FINGERS for segment in (THUMB_SEGMENTS if finger == "thumb" else SEGMENTS)]
    return {PART_BACKGROUND: "background", PART_PALM: "palm", **dict(enumerate(fingers, PART_PALM + 1)), PART_ARM: "arm", PART_OCCLUDER: "occluder"}


def conventions() -> dict[str, Any]:
    """The `conventions` of `dataset.json`."""
    return {
        "units": "metres, radians, seconds; a name that ends in _px is in pixels",
        "camera_axes": "x right, y down, z forward (OpenCV); camera_from_world maps world points into the camera",
        "pixels": "pixel centres at integers: (0, 0) is the centre of the top left pixel",
        "depth": f"uint16, one count is {DEPTH_UNIT_M:g} m along z, sampled at the pixel's centre; 0 = nothing",
        "joints": list(JOINT_NAMES),
        "joint_parents": list(PARENTS),
        "joints_visible": "the nearest surface at the joint's pixel belongs to a part that the joint connects",
        "parts": {str(label): name for label, name in part_names().items()},
        "hand_frame": f"origin at the wrist, y to the middle MCP, z out of the back of the hand, right-handed; {PALM_M * 1000:g} mm from wrist to middle MCP",
        "hand_parameters": "MANO's: pose is axis-angle with the global rotation first, of a right hand; for a left hand those of the mirrored right hand",
        "weak_perspective": "scale (px/m), tx, ty (px): least squares of joints_px on root-relative camera-frame xy",
    }
