"""The first look at depth and its labels: what fits passes with its figure, and each mistake of unit, camera, axes, order or side is named."""

from dataclasses import replace

import numpy as np
import pytest
from depth_sets import ICVL_K, NYU_K, depth_picture_mm, icvl_hands, nyu_hands

from seqgen.benchmarks.depth_contact import check_depth, check_joint_set
from seqgen.benchmarks.pinhole import projected
from seqgen.dataset.clip import LabelledClip
from seqgen.errors import UserError
from seqgen.joint_targets import TARGETS


class Clips:
    """Clips in memory."""

    name = "toy"

    def __init__(self, *clips: LabelledClip) -> None:
        self.clips = clips

    def __len__(self) -> int:
        return len(self.clips)

    def key(self, position: int) -> str:
        return self.clips[position].key

    def num_frames(self, position: int) -> int:
        return len(self.clips[position].joints_m)

    def read(self, position: int, frames: list[int] | None = None) -> LabelledClip:
        clip, wanted = self.clips[position], slice(None) if frames is None else frames
        names = ("joints_m", "joints_px", "joints_valid", "box_px", "intrinsics", "depth_tenth_mm")
        return replace(clip, **{name: getattr(clip, name)[wanted] for name in names})


def clip_of(depth_tenth_mm: np.ndarray, joints_m: np.ndarray, intrinsics: np.ndarray = NYU_K) -> LabelledClip:
    frames, joints = joints_m.shape[:2]
    cameras = np.repeat(intrinsics[None], frames, 0).astype(np.float32)
    return LabelledClip(
        key="one",
        source="toy",
        side="right",
        fps=30.0,
        rgb=None,
        joints_m=joints_m.astype(np.float32),
        joints_px=projected(joints_m, cameras),
        joints_valid=np.ones((frames, joints), bool),
        box_px=np.zeros((frames, 4), np.float32),
        camera_kind="perspective",
        intrinsics=cameras,
        depth_tenth_mm=depth_tenth_mm,
        joint_set="nyu",
    )


def hands(x_m: float = 0.0, y_m: float = 0.0) -> LabelledClip:
    made, move = nyu_hands(), np.array([x_m, y_m, 0])
    pictures = np.stack([10 * np.minimum(depth_picture_mm(vertices + move, NYU_K, (640, 480)), 1500) for vertices in made.vertices_m])
    return clip_of(pictures.astype(np.uint16), made.joints_m + move)


@pytest.mark.parametrize("behind_mm", [-15, 0, 23, 55])
def test_a_wall_before_the_joints_says_how_far(behind_mm: int) -> None:
    """All joints in one plane, the wall so far before them; outside -5 to 40 it says what was expected."""
    joints_m = np.concatenate([np.random.default_rng(1).uniform(-0.1, 0.1, (3, 14, 2)), np.full((3, 14, 1), 0.5)], 2)
    wall = np.full((3, 480, 640), 5000 - 10 * behind_mm, np.uint16)
    verdict = check_depth(Clips(clip_of(wall, joints_m)))
    assert f"3 depth pictures looked at; 100% of the joints within; joints_px 0.0 px from the projected joints_m at most; the median joint lies {behind_mm} mm behind" in verdict
    assert verdict.endswith("that the depth shows" if -5 <= behind_mm <= 40 else "expected -5 to 40")


@pytest.mark.parametrize("behind_mm", [-25, 70])
def test_a_wall_too_far_away_is_refused(behind_mm: int) -> None:
    joints_m = np.tile([0, 0, 0.5], (1, 14, 1))
    with pytest.raises(UserError, match=f"toy: the median joint lies {behind_mm} mm behind .*; are depth and labels of one unit"):
        check_depth(Clips(clip_of(np.full((1, 480, 640), 5000 - 10 * behind_mm, np.uint16), joints_m)))


def test_hands_pass() -> None:
    clip = hands()
    assert "the median joint lies 11 mm behind the surface" in check_depth(Clips(clip))
    unknown = replace(clip, joints_valid=np.zeros_like(clip.joints_valid))
    assert check_depth(Clips(unknown), samples=3) == "toy: 3 depth pictures looked at, none with a known joint"
    with pytest.raises(UserError, match="toy: holds no clips"):
        check_depth(Clips())


def test_mistakes_are_named() -> None:
    clip, above, right = hands(), hands(y_m=-0.14), hands(x_m=0.15)
    nothing = np.zeros_like(clip.depth_tenth_mm)
    cases = [
        (clip_of(above.depth_tenth_mm, above.joints_m * [1, -1, 1]), "with y turned round .*% would"),
        (clip_of(right.depth_tenth_mm, right.joints_m * [-1, 1, 1]), "with x turned round .*% would"),
        (clip_of(clip.depth_tenth_mm, clip.joints_m * [1, 1, -1]), "joints lie behind the camera"),
        (clip_of(nothing, clip.joints_m), r"100% of the joints lie within their pictures, 0% of these where there is depth \(first looked at: one_0000\)"),
        (clip_of(clip.depth_tenth_mm, clip.joints_m + np.array([2, 0, 0])), "0% of the joints lie within their pictures"),
        (clip_of(clip.depth_tenth_mm // 10, clip.joints_m), r"the median joint lies [56]\d\d mm behind"),
        (replace(clip, joints_px=clip.joints_px + np.float32(30)), "joints_m and intrinsics give pixels 42 px from joints_px"),
    ]
    for wrong, message in cases:
        with pytest.raises(UserError, match=message):
            check_depth(Clips(wrong))


@pytest.mark.parametrize(("name", "side", "joints_m"), [("nyu", "right", nyu_hands().joints_m), ("icvl", "left", icvl_hands().joints_m)])
def test_other_joint_sets(name: str, side: str, joints_m: np.ndarray) -> None:
    assert check_joint_set(joints_m, name, where="here", side=side).endswith(f"joint order fits {name}; {side} hands")
    flat = joints_m * [1, 1, 0]
    for either in ("left", "right"):
        assert "too flat to tell" in check_joint_set(flat, name, where="here", side=either)
    reach = np.median([max(np.linalg.norm(one - other) for one in hand for other in hand) for hand in joints_m])
    assert f"here: 4 hands; joints up to {1e3 * reach:.0f} mm apart" in check_joint_set(joints_m, name, where="here", side=side)
    for wrong, message in (
        (joints_m * [-1, 1, 1], f"these look like {'left' if side == 'right' else 'right'} hands"),
        (joints_m * 100, "the numbers look like centimetres"),
        (joints_m[:0], "holds no labels"),
    ):
        with pytest.raises(UserError, match=message):
            check_joint_set(wrong, name, where="here", side=side)


@pytest.mark.parametrize("name", ["nyu", "icvl"])
def test_shuffled_joints_are_refused(name: str) -> None:
    """Any of twenty random orders; whole fingers exchanged are another matter, which bones do not tell."""
    joints_m, rng = (nyu_hands() if name == "nyu" else icvl_hands()).joints_m, np.random.default_rng(2)
    for _ in range(20):
        with pytest.raises(UserError, match=f"wrong joint order: these are not {name}'s joints"):
            check_joint_set(joints_m[:, rng.permutation(TARGETS[name].num_joints)], name, where="here", side="right")


def test_depth_of_icvl_s_camera_passes_too() -> None:
    made = icvl_hands()
    pictures = np.stack([10 * np.minimum(depth_picture_mm(vertices, ICVL_K, (320, 240)), 1500) for vertices in made.vertices_m])
    assert "100% of the joints within" in check_depth(Clips(clip_of(pictures.astype(np.uint16), made.joints_m, ICVL_K)))
