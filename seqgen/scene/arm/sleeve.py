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
ROOM, MORE_ROOM = (0.04, 0.1), (0.02, 0.055)  # between skin and cloth, in radii of the arm: at the opening; how much more farther up
THICKNESS_M = (0.001, 0.002)
WIDEST = 1.35  # times as thick as its arm is a sleeve, at most
DEPTH_M = 0.02  # of what can be seen of the inside
NUM_FOLDS, FOLD_LENGTH_M, FOLD_LOBES, FOLD_SHARE = 4, (0.06, 0.16), 3, 0.5  # waves; their length along the arm, most of them around it, and of the room they take
REPEAT_M = 0.08  # size of one repeat of the cloth's picture
OUTER_RINGS = (8, 5, 3)  # to the elbow, through it, to the end
# Of the rings before those, from within the arm along the inside and around the hem: how far along, in depths of the inside and then in thicknesses of the
# cloth, and how far below the outside, in thicknesses. The first is in the arm.
INSIDE_ALONG, HEM_ALONG, BELOW = np.array([1.05, 1.0, 0.0]), np.array([-0.4, -0.6, -0.4, 0.5]), np.array([1.0, 1.0, 1.0, 0.85, 0.5, 0.15, 0.0])


@dataclass(frozen=True)
class Sleeve:
    """What is drawn of a sleeve."""

    begins: float  # in forearms from the wrist
    room: float  # between skin and cloth, in radii of the arm
    opening: float  # the same at the opening
    thickness_m: float
    fold_lengths_m: Float[Array, "folds"]
    fold_lobes: Int64[Array, "folds"]
    fold_phases: Float[Array, "folds"]

    def covered_from_m(self, forearm_m: float) -> float:
        """Up to where there has to be an arm in the sleeve: a little beyond what can be seen from the opening."""
        return self.begins * forearm_m + 1.4 * DEPTH_M

    def rooms(self, beyond_m: Float[Array, "rings"], along_m: Float[Array, "rings"], angles: Float[Array, "around"]) -> Float[Array, "rings around"]:
        """Room between skin and cloth, folds and all, in radii of the arm, by distance from the opening and from the wrist."""
        room = self.opening + (self.room - self.opening) * np.clip(beyond_m / 0.08, 0.0, 1.0)
        waves = 2 * np.pi * along_m[:, None, None] / self.fold_lengths_m + self.fold_lobes * angles[:, None] + self.fold_phases
        folds = np.sin(waves).mean(-1) * np.sqrt(NUM_FOLDS)
        calm = np.clip(beyond_m / 0.03, 0.25, 1.0)  # a hem is stiffer than the cloth behind it
        return room[:, None] * (1 + FOLD_SHARE * calm[:, None] * np.clip(folds, -1, 1))


@dataclass(frozen=True)
class SleeveRings:
    """Rings of a sleeve from within the arm out of the opening, around the hem and on to the end, in the arm frame, and where on the cloth they lie."""

    offsets_m: Float[Array, "rings around 3"]
    along_m: Float[Array, "rings"]
    v: Float[Array, "rings"]
    repeats: int

    def surface(self, points_m: Float[Array, "frames rings around 3"], normals: Float[Array, "frames rings around 3"], cloth: Material) -> Surface:
        """The sleeve, its rings having been carried to their places."""
        vertices_m, vertex_normals = capped(points_m, normals, closed_start=True)
        topology = tube(*self.offsets_m.shape[:2], closed_start=True)
        return single_part_surface(vertices_m, vertex_normals, topology.faces, topology.corner_uv(self.v, self.repeats), cloth, PART_ARM)


def draw_sleeve(rng: np.random.Generator) -> Sleeve:
    """A sleeve, always with as many draws."""
    begins = rng.uniform(*BEGINS[int(rng.random() > AT_THE_WRIST)])
    opening, more, thickness = rng.uniform(*ROOM), rng.uniform(*MORE_ROOM), rng.uniform(*THICKNESS_M)
    lengths, lobes = rng.uniform(*FOLD_LENGTH_M, NUM_FOLDS), rng.integers(-FOLD_LOBES, FOLD_LOBES + 1, NUM_FOLDS)
    return Sleeve(begins, opening + more, opening, thickness, lengths, lobes, rng.uniform(0, 2 * np.pi, NUM_FOLDS))


def sleeve_rings(sleeve: Sleeve, half_axes: Callable[[Array], Array], forearm_m: float, lengths: Lengths, angles: Float[Array, "around"], bulge_m: float) -> SleeveRings:
    """The sleeve around an arm of those half axes (breadth and thickness by distance from the wrist), `bulge_m` wider where the skin is still the hand's."""
    begins, thick = sleeve.begins * forearm_m, sleeve.thickness_m
    ends = [begins + 0.5 * thick, *lengths.elbow_m, lengths.end_m]
    outer = [np.linspace(low, high, num + 1)[1:] for low, high, num in zip(ends, ends[1:], OUTER_RINGS, strict=False)]
    along = np.concatenate([begins + INSIDE_ALONG * DEPTH_M, begins + thick * HEM_ALONG, *outer])
    half = half_axes(np.maximum(along, 0.0))
    bulge = bulge_m * np.clip(1 - along / (2 * lengths.wrist_m), 0.0, 1.0) ** 2
    gap = sleeve.rooms(np.maximum(along - begins, 0.0), along, angles) * np.sqrt(half.prod(1))[:, None] + bulge[:, None]
    below = np.concatenate([BELOW, np.zeros(len(along) - len(BELOW))])
    room = gap + thick * (1 - below)[:, None]
    room[0] = -0.004
    axes = half[:, None] + room[..., None]
    offsets = np.stack([axes[..., 0] * np.cos(angles), np.zeros_like(room), axes[..., 1] * np.sin(angles)], -1)
    steps = np.sqrt(np.diff(along) ** 2 + np.diff(room.mean(1)) ** 2)
    repeats = max(1, round(float(2 * np.pi * np.sqrt(axes[-1].mean(0).prod())) / REPEAT_M))
    return SleeveRings(offsets, along, np.concatenate([[0.0], np.cumsum(steps)]) / REPEAT_M, repeats)
