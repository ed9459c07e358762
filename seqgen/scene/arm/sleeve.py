"""A sleeve: a wider tube around an arm, with a hem of visible thickness, seen into at its opening, and folds."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int64

from seqgen.scene.arm.posture import Lengths
from seqgen.scene.arm.tube import capped, tube
from seqgen.scene.scene import Material, Surface, single_part_surface
from seqgen.skeleton import PART_ARM

Array = np.ndarray
AT_THE_WRIST = 0.65  # share of sleeves that end there; the others are pushed up
BEGINS = ((0.03, 0.2), (0.2, 0.52))  # where those begin and where these do, in forearms from the wrist
ROOM_M, MORE_ROOM_M = (0.004, 0.010), (0.001, 0.010)  # between skin and cloth: at the opening; how much more farther up
THICKNESS_M = (0.0012, 0.003)
DEPTH_M = 0.04  # of what can be seen of the inside
NUM_FOLDS, FOLD_LENGTH_M, FOLD_LOBES, FOLD_SHARE = 4, (0.055, 0.16), 3, 0.55  # waves; their length along the arm, most of them around it, and of the room they take
REPEAT_M = 0.08  # size of one repeat of the cloth's picture
OUTER_RINGS = (10, 6, 2)  # to the elbow, through it, to the end


@dataclass(frozen=True)
class Sleeve:
    """What is drawn of a sleeve."""

    begins: float  # in forearms from the wrist
    room_m: float  # between skin and cloth, the most
    opening_m: float  # the same at the opening
    thickness_m: float
    fold_lengths_m: Float[Array, "folds"]
    fold_lobes: Int64[Array, "folds"]
    fold_phases: Float[Array, "folds"]

    def covered_from_m(self, forearm_m: float) -> float:
        """Up to where there has to be an arm in the sleeve: a little beyond what can be seen from the opening."""
        return self.begins * forearm_m + 1.4 * DEPTH_M

    def cloth_m(self, beyond_m: Float[Array, "rings"], along_m: Float[Array, "rings"], angles: Float[Array, "around"]) -> Float[Array, "rings around"]:
        """Room between skin and cloth, folds and all, by distance from the opening and from the wrist."""
        room = self.opening_m + (self.room_m - self.opening_m) * np.clip(beyond_m / 0.08, 0.0, 1.0)
        waves = 2 * np.pi * along_m[:, None, None] / self.fold_lengths_m + self.fold_lobes * angles[:, None] + self.fold_phases
        folds = np.sin(waves).mean(-1) * np.sqrt(NUM_FOLDS)
        calm = np.clip(beyond_m / 0.03, 0.25, 1.0)  # a hem is stiffer than the cloth behind it
        return room[:, None] * (1 + FOLD_SHARE * calm[:, None] * np.clip(folds, -1, 1.5))


@dataclass(frozen=True)
class SleeveRings:
    """Rings of a sleeve from within the arm out of the opening, around the hem and on to the end, in the arm frame, and where on the cloth they lie."""

    offsets_m: Float[Array, "rings around 3"]
    along_m: Float[Array, "rings"]
    v: Float[Array, "rings"]
    repeats: int

    def surface(self, points_m: Float[Array, "frames rings around 3"], cloth: Material) -> Surface:
        """The sleeve, its rings having been carried to their places."""
        vertices_m, normals = capped(points_m, closed_start=True)
        topology = tube(points_m.shape[1], points_m.shape[2], closed_start=True)
        return single_part_surface(vertices_m, normals, topology.faces, topology.corner_uv(self.v, self.repeats), cloth, PART_ARM)


def draw_sleeve(rng: np.random.Generator) -> Sleeve:
    """A sleeve, always with as many draws."""
    begins = rng.uniform(*BEGINS[int(rng.random() > AT_THE_WRIST)])
    opening, more, thickness = rng.uniform(*ROOM_M), rng.uniform(*MORE_ROOM_M), rng.uniform(*THICKNESS_M)
    lengths, lobes = rng.uniform(*FOLD_LENGTH_M, NUM_FOLDS), rng.integers(-FOLD_LOBES, FOLD_LOBES + 1, NUM_FOLDS)
    return Sleeve(begins, opening + more, opening, thickness, lengths, lobes, rng.uniform(0, 2 * np.pi, NUM_FOLDS))


def sleeve_rings(sleeve: Sleeve, half_axes: Callable[[Array], Array], forearm_m: float, lengths: Lengths, angles: Float[Array, "around"], bulge_m: float) -> SleeveRings:
    """The sleeve around an arm of those half axes (breadth and thickness by distance from the wrist), `bulge_m` wider where the skin is still the hand's."""
    begins, thick = sleeve.begins * forearm_m, sleeve.thickness_m
    ends = [begins + 2 * thick, *lengths.elbow_m, lengths.end_m]
    outer = [np.linspace(low, high, num + 1)[1:] for low, high, num in zip(ends, ends[1:], OUTER_RINGS, strict=False)]
    along = np.concatenate([begins + np.array([1.05, 1.0, 0.5, 0.0]) * DEPTH_M, begins + thick * np.array([-0.7, -0.7, 0.0, 2.0]), *outer])
    bulge = bulge_m * np.clip(1 - along / (2 * lengths.wrist_m), 0.0, 1.0) ** 2
    room = sleeve.cloth_m(np.maximum(along - begins, 0.0), along, angles) + bulge[:, None]
    # From the skin's side: within the arm, at the inside's end, the inside, the hem, the outside.
    depth = np.concatenate([[-0.002], np.full(3, -1.0), [-0.75, -0.25, 0.0, 0.0], np.zeros(len(along) - 8)])
    room = np.where(depth[:, None] < 0, np.maximum(room + thick * depth[:, None], 0.0012), room)
    room[0] = -0.004
    axes = half_axes(np.maximum(along, 0.0))[:, None] + room[..., None]
    offsets = np.stack([axes[..., 0] * np.cos(angles), np.zeros_like(room), axes[..., 1] * np.sin(angles)], -1)
    steps = np.sqrt(np.diff(along) ** 2 + np.diff(room.mean(1)) ** 2)
    repeats = max(1, round(float(2 * np.pi * np.sqrt(axes[-1].mean(0).prod())) / REPEAT_M))
    return SleeveRings(offsets, along, np.concatenate([[0.0], np.cumsum(steps)]) / REPEAT_M, repeats)
