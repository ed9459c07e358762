"""The places on a hand and its forearm that are painted, at rest and in the hand frame, so that paint knows no mesh and no texture."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float, Int32, Int64
from scipy.spatial import cKDTree

from seqgen.hand.anatomy import joint_axes
from seqgen.hand.model import HandModel, rest_joints_m
from seqgen.scene.arm.arm import TEXTURE_M
from seqgen.scene.skin.unwrap import Texels, vertex_normals_at_rest
from seqgen.skeleton import PALM_M, hand_frame

Array = np.ndarray
ARM_COLUMNS, ARM_ROWS = 80, 192


@dataclass(frozen=True)
class Anatomy:
    """Joints and their anatomical axes (`hand/anatomy.py`) in the hand frame, in lengths of a 95 mm palm. `true_size`: metres of this hand to one of those."""

    joints_m: Float[Array, "21 3"]
    axes: Float[Array, "16 3 3"]
    true_size: float


@dataclass(frozen=True)
class Sites:
    """Places on the skin: points and outward normals in the hand frame (95 mm palm), and the skinning weights there.

    `outward`: the normal along the back of the bone that the place moves with: 1 on the back, -1 on the palm's side. `first`: not one of the repeated
    places around a chart. `spacing_m`: between neighbours.
    """

    points_m: Float[Array, "sites 3"]
    normals: Float[Array, "sites 3"]
    weights: Float[Array, "sites 16"]
    outward: Float[Array, "sites"]
    first: Bool[Array, "sites"]
    spacing_m: float

    @cached_property
    def tree(self) -> cKDTree:
        return cKDTree(self.points_m)

    def some(self, count: int, rng: np.random.Generator) -> Int64[Array, "count"]:
        """Sites drawn evenly over the skin."""
        once = np.flatnonzero(self.first)
        return once[rng.integers(len(once), size=count)]


def anatomy_of(model: HandModel) -> Anatomy:
    """The anatomy of the mean shape at rest."""
    joints = rest_joints_m(model).astype(float)[None]
    frame = hand_frame(joints)
    axes = np.einsum("ck,jca->jka", frame.axes[0], joint_axes(model))
    return Anatomy(frame.normalise(joints)[0], axes, float(frame.palm[0]) / PALM_M)


def hand_sites(model: HandModel, anatomy: Anatomy, texels: Texels) -> Sites:
    """The places that a hand's texels show."""
    frame = hand_frame(rest_joints_m(model).astype(float)[None])
    vertices = (model.template_m - frame.wrist[0]) @ frame.axes[0] / anatomy.true_size
    points = texels.carried(vertices, model.faces)
    normals = _unit(texels.carried(vertex_normals_at_rest(vertices, model.faces), model.faces))
    weights = texels.carried(model.skinning_weights.astype(float), model.faces)
    backs = _unit(weights @ anatomy.axes[:, :, 2])
    corners = vertices[model.faces[np.unique(texels.faces)]]
    area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1).sum() / 2
    return Sites(points, normals, weights, (normals * backs).sum(1), texels.covered, float(np.sqrt(area / texels.covered.sum())))


def arm_sites(model: HandModel, anatomy: Anatomy, loop: Int32[Array, "loop"]) -> Sites:
    """The places of the arm's texels, row by row from the top: the wrist's loop drawn out along the arm. A model without a loop gets a round wrist."""
    frame = hand_frame(rest_joints_m(model).astype(float)[None])
    around = (np.arange(ARM_COLUMNS) + 0.5) / ARM_COLUMNS
    rim = (model.template_m[loop] - frame.wrist[0]) @ frame.axes[0] / anatomy.true_size if len(loop) else _round_wrist()
    ring = np.stack([np.interp(around * len(rim), np.arange(len(rim) + 1), np.append(rim[:, k], rim[0, k])) for k in range(3)], 1)
    along = (ARM_ROWS - np.arange(ARM_ROWS) - 0.5) / ARM_ROWS * TEXTURE_M / anatomy.true_size
    points = (ring + along[:, None, None] * [0.0, -1.0, 0.0]).reshape(-1, 3)
    normals = np.tile(_unit((ring - ring.mean(0)) * [1.0, 0.0, 1.0]), (ARM_ROWS, 1))
    return Sites(points, normals, np.eye(1, 16).repeat(len(points), 0), normals[:, 2], np.ones(len(points), bool), TEXTURE_M / ARM_ROWS / anatomy.true_size)


def _round_wrist() -> Float[Array, "16 3"]:
    angles = np.arange(16) * (2 * np.pi / 16)
    return np.stack([0.028 * np.cos(angles), np.zeros(16), 0.02 * np.sin(angles)], 1)


def _unit(vectors: Float[Array, "rows 3"]) -> Float[Array, "rows 3"]:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
