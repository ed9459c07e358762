"""From the numbers a network gives to a hand: scale, place, rotation, pose coefficients and shape become joints in metres and pixels.

    numbers (N, 3 + rotation + components + 10), all of order one; zeros are the start, the mean hand where training data has it on average

    0        scale           start scale * exp(number)                                      px/m
    1, 2     translation     start translation + start scale * PALM_M * numbers             px, of the root
    3 ..     rotation        3: axis-angle, or 6: two columns (Zhou et al. 2019), zeros being the identity; applied after the start rotation
    ..       theta           coefficients of the first `components` rows of the hand's pose components
    last 10  betas

Order and the constant that is added are those of Boukhayma et al. (CVPR 2019), whose encoder SeqHAND builds on; x = s (R J)_xy + t is SeqHAND's Eq. 3-4.
The hand turns about its root, the wrist of the 21 joints, which is at the translation. Scale is an exponential because what counts is its ratio, because
positive numbers are all it may be, and because it then starts with slope one; a softplus would have another slope at every start.

Does not know: images, losses, clips (N is frames of any clips), left hands.
"""

import copy
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from seqgen.estimators.views.batch import Batch
from seqgen.hand.layer import HandLayer, rotation_matrices
from seqgen.hand.model import HandModel
from seqgen.joint_targets import TARGETS, JointSetName
from seqgen.skeleton import PALM_M

RotationKind = Literal["axis_angle", "6d"]
NUMBERS_OF_ROTATION: dict[RotationKind, int] = {"axis_angle": 3, "6d": 6}


class ComponentHandLayer(HandLayer):
    """A hand layer that knows its model's pose components too, as buffers: `pose = coefficients @ pose_components + pose_mean`."""

    def __init__(self, model: HandModel) -> None:
        super().__init__(model)
        self.register_buffer("pose_components", torch.tensor(model.pose_components))
        self.register_buffer("pose_mean", torch.tensor(model.pose_mean))


@dataclass(frozen=True)
class HandOutput:
    """N hands: camera axes, metres, the root at the origin; pixels of the crop. What costs more than joints is computed when asked for."""

    hand: "ParametricHand" = field(repr=False)
    scale_px_per_m: Float[Tensor, "hands"]
    translation_px: Float[Tensor, "hands 2"]
    rotation: Float[Tensor, "hands 3 3"]
    theta: Float[Tensor, "hands components"]
    betas: Float[Tensor, "hands 10"]
    finger_pose: Float[Tensor, "hands 15 3"]
    joints_m: Float[Tensor, "hands joints 3"]
    joints_px: Float[Tensor, "hands joints 2"]

    @property
    def pose(self) -> Float[Tensor, "hands 16 3"]:
        """Axis-angle, relative to the template, global orientation first with an angle in [0, pi]."""
        return torch.cat([axis_angle_from_matrix(self.rotation)[:, None], self.finger_pose], 1)

    @property
    def weak_perspective(self) -> Float[Tensor, "hands 3"]:
        """Scale px/m, tx, ty px, as in a batch."""
        return torch.cat([self.scale_px_per_m[:, None], self.translation_px], 1)

    def vertices_m(self) -> Float[Tensor, "hands vertices 3"]:
        """The whole surface."""
        return self.hand.surface_m(self, self.hand.layer)

    def points_px(self) -> Float[Tensor, "hands points 2"]:
        """Pixels of the surface points that stand for the surface, spread evenly over it."""
        return self.project(self.hand.surface_m(self, self.hand.sparse_layer))

    def project(self, points_m: Float[Tensor, "hands points 3"]) -> Float[Tensor, "hands points 2"]:
        """Pixels of root-relative points of these hands."""
        return self.scale_px_per_m[:, None, None] * points_m[..., :2] + self.translation_px[:, None]


class ParametricHand(nn.Module):
    """Numbers to hands, drawn above. Nothing to train. Its state is the start alone: the hand's own numbers, which may not be copied, are in no checkpoint."""

    start_scale_px_per_m: Tensor
    start_translation_px: Tensor
    start_rotation: Tensor
    joints_from_canonical: Tensor
    components: Tensor
    coefficients_of_pose: Tensor
    pose_mean: Tensor

    def __init__(
        self, hand_layer: HandLayer, components: int = 10, rotation: RotationKind = "axis_angle", *, num_points: int = 200, joints: JointSetName = "canonical"
    ) -> None:
        """`hand_layer`: with its pose components. `num_points`: how many vertices stand for the surface in `points_px`, beside the five tips; at most all.
        `joints`: the joint set of the output."""
        super().__init__()
        if not hasattr(hand_layer, "pose_components"):
            raise ValueError("this layer does not know the pose components of its hand: ComponentHandLayer(model) does")
        if not 1 <= components <= 45:
            raise ValueError(f"{components} pose components: a hand has 1 to 45")
        self.rotation_kind: RotationKind = rotation
        self.targets = TARGETS[joints]
        self.register_buffer("joints_from_canonical", torch.tensor(self.targets.joint_set.matrix, dtype=torch.float32), persistent=False)
        self.layer = _unsaved(hand_layer)
        self.sparse_layer = _sparse(self.layer, num_points)
        basis = hand_layer.pose_components[:components].detach().clone()
        self.register_buffer("components", basis, persistent=False)
        self.register_buffer("coefficients_of_pose", torch.linalg.pinv(basis.double()).to(basis.dtype), persistent=False)
        self.register_buffer("pose_mean", hand_layer.pose_mean.detach().clone(), persistent=False)
        self.register_buffer("start_scale_px_per_m", torch.tensor(700.0))  # a hand that fills three fifths of 224 px
        self.register_buffer("start_translation_px", torch.tensor([111.5, 111.5]))
        self.register_buffer("start_rotation", torch.eye(3))

    @property
    def num_numbers(self) -> int:
        """How many numbers a hand takes: 26 with ten components and axis-angle."""
        return 3 + NUMBERS_OF_ROTATION[self.rotation_kind] + len(self.components) + 10

    @property
    def num_vertices(self) -> int:
        """Vertices of the whole surface."""
        return len(self.layer.surface.template)

    def set_start(self, scale_px_per_m: float, translation_px: tuple[float, float], rotation: Float[Tensor, "3 3"] | None = None) -> None:
        """Where zeros put the hand: the means of the training data in use. ValueError unless the scale is positive and all is finite."""
        if not (0 < scale_px_per_m < float("inf") and np.isfinite(translation_px).all()):
            raise ValueError(f"start at scale {scale_px_per_m} px/m, translation {tuple(translation_px)} px: the scale must be positive, all finite")
        self.start_scale_px_per_m.fill_(scale_px_per_m)
        self.start_translation_px.copy_(torch.tensor(translation_px))
        if rotation is not None:
            self.start_rotation.copy_(rotation)

    def start_from(self, batch: Batch) -> None:
        """`set_start` from a batch: the geometric mean of the scales, the mean of the translations, the chordal mean of the rotations that are known."""
        labelled = batch.joints_valid.any(-1)
        weak = batch.weak_perspective[labelled & (batch.weak_perspective[..., 0] > 0)].double()
        if not len(weak):
            raise ValueError("no frame of the batch has a weak-perspective camera to start from")
        x, y = weak[:, 1:].mean(0).tolist()
        known = batch.pose[labelled & batch.has_pose[:, None]][:, 0]
        self.set_start(weak[:, 0].log().mean().exp().item(), (x, y), mean_rotation(rotation_matrices(known)) if len(known) else None)

    def forward(self, numbers: Float[Tensor, "hands numbers"]) -> HandOutput:
        """The hands of these numbers. Computed in single precision at least, whatever the network runs in."""
        if numbers.shape[1] != self.num_numbers:
            raise ValueError(f"{numbers.shape[1]} numbers a hand, expected {self.num_numbers}")
        with torch.autocast(numbers.device.type, enabled=False):
            return self._decode(numbers.float() if numbers.dtype in (torch.float16, torch.bfloat16) else numbers)

    def theta_of_pose(self, pose: Float[Tensor, "*batch 16 3"]) -> Float[Tensor, "*batch components"]:
        """The coefficients whose finger pose is nearest, in least squares: exact where the pose is made of these components."""
        with torch.autocast(pose.device.type, enabled=False):
            return (pose[..., 1:, :].flatten(-2) - self.pose_mean) @ self.coefficients_of_pose

    def surface_m(self, output: HandOutput, layer: HandLayer) -> Float[Tensor, "hands points 3"]:
        """Root-relative vertices of a layer in the pose of an output."""
        with torch.autocast(output.betas.device.type, enabled=False):
            mesh = layer(_without_turn(output.finger_pose), output.betas, torch.zeros_like(output.joints_m[:, 0]))
            return _turned(output.rotation, mesh.vertices_m - self._joints(mesh.joints_m)[:, self.targets.root, None])

    def _decode(self, numbers: Tensor) -> HandOutput:
        sizes = (1, 2, NUMBERS_OF_ROTATION[self.rotation_kind], len(self.components), 10)
        log_scale, place, turn, theta, betas = numbers.split(sizes, 1)
        scale = self.start_scale_px_per_m * log_scale[:, 0].exp()
        translation = self.start_translation_px + self.start_scale_px_per_m * PALM_M * place
        own = rotation_matrices(turn) if self.rotation_kind == "axis_angle" else rotation_from_6d(turn)
        rotation = own @ self.start_rotation
        fingers = (theta @ self.components + self.pose_mean).unflatten(1, (15, 3))
        joints = self._joints(self.layer.joints(_without_turn(fingers), betas))
        joints = _turned(rotation, joints - joints[:, self.targets.root, None])
        joints_px = scale[:, None, None] * joints[..., :2] + translation[:, None]
        return HandOutput(self, scale, translation, rotation, theta, betas, fingers, joints, joints_px)

    def _joints(self, canonical_m: Float[Tensor, "hands 21 3"]) -> Float[Tensor, "hands joints 3"]:
        """Those of the joint set."""
        return canonical_m if self.targets.joint_set.name == "canonical" else torch.einsum("jc,nci->nji", self.joints_from_canonical.to(canonical_m.dtype), canonical_m)


def rotation_from_6d(numbers: Float[Tensor, "*batch 6"]) -> Float[Tensor, "*batch 3 3"]:
    """Rotations of their first two columns, made orthonormal in this order (Zhou et al. 2019, Eq. 15); zeros give the identity, where a network starts."""
    identity = torch.eye(3, dtype=numbers.dtype, device=numbers.device)
    first = nn.functional.normalize(numbers[..., :3] + identity[0], dim=-1)
    second = numbers[..., 3:] + identity[1]
    second = nn.functional.normalize(second - (first * second).sum(-1, keepdim=True) * first, dim=-1)
    return torch.stack([first, second, torch.linalg.cross(first, second)], -1)


def axis_angle_from_matrix(matrix: Float[Tensor, "*batch 3 3"]) -> Float[Tensor, "*batch 3"]:
    """Axis-angle, angle in [0, pi], through the unit quaternion, taken from its largest component so that half turns are exact (Shepperd 1978)."""
    (xx, xy, xz), (yx, yy, yz), (zx, zy, zz) = (row.unbind(-1) for row in matrix.unbind(-2))
    wx, wy, wz = zy - yz, xz - zx, yx - xy
    rows = [
        torch.stack([1 + xx + yy + zz, wx, wy, wz], -1),
        torch.stack([wx, 1 + xx - yy - zz, xy + yx, xz + zx], -1),
        torch.stack([wy, xy + yx, 1 - xx + yy - zz, yz + zy], -1),
        torch.stack([wz, xz + zx, yz + zy, 1 - xx - yy + zz], -1),
    ]
    products = torch.stack(rows, -2)  # four times the quaternion's outer product with itself
    largest = products.diagonal(dim1=-2, dim2=-1).argmax(-1)[..., None, None]
    quaternion = nn.functional.normalize(products.gather(-2, largest.expand(*largest.shape[:-1], 4))[..., 0, :], dim=-1)
    quaternion = torch.where(quaternion[..., :1] < 0, -quaternion, quaternion)
    real, imaginary = quaternion[..., :1], quaternion[..., 1:]
    squared = (imaginary * imaginary).sum(-1, keepdim=True)
    small = squared < 1e-6
    sine = torch.where(small, torch.ones_like(squared), squared).sqrt()
    return imaginary * torch.where(small, 2 + squared / 3, 2 * torch.atan2(sine, real) / sine)


def mean_rotation(rotations: Float[Tensor, "count 3 3"]) -> Float[Tensor, "3 3"]:
    """The rotation nearest to all in squared chordal distance: the polar factor of their mean."""
    u, _, vt = torch.linalg.svd(rotations.double().mean(0))
    sign = torch.ones(3, dtype=u.dtype, device=u.device)
    sign[2] = torch.linalg.det(u @ vt).sign()
    return ((u * sign) @ vt).to(rotations.dtype)


def spread_vertices(points_m: Float[Tensor, "vertices 3"], first: list[int], count: int) -> list[int]:
    """`first`, then `count` more indices, each the one farthest from all before (Eldar et al. 1997); fewer when there are no more."""
    chosen = list(first)
    nearest = torch.cdist(points_m, points_m[chosen]).amin(1)
    for _ in range(min(count, len(points_m) - len(set(first)))):
        chosen.append(int(nearest.argmax()))
        nearest = torch.minimum(nearest, (points_m - points_m[chosen[-1]]).norm(dim=1))
    return chosen


def _unsaved(layer: HandLayer) -> HandLayer:
    """A copy that no checkpoint holds."""
    layer = copy.deepcopy(layer)
    for module in layer.modules():
        for name, buffer in module.named_buffers(recurse=False):
            module.register_buffer(name, buffer, persistent=False)
    return layer


def _sparse(layer: HandLayer, num_points: int) -> HandLayer:
    """A copy whose surface is the five tips and `num_points` more vertices."""
    layer = copy.deepcopy(layer)
    kept = spread_vertices(layer.surface.template, layer.tip_vertices, num_points)
    for name, buffer in layer.surface.named_buffers():
        layer.surface.register_buffer(name, buffer[kept] if name == "template" else buffer[..., kept], persistent=False)
    layer.tip_vertices = list(range(len(layer.tip_vertices)))
    return layer


def _without_turn(finger_pose: Float[Tensor, "hands 15 3"]) -> Float[Tensor, "hands 16 3"]:
    """The pose of a hand as it lies in its own axes."""
    return torch.cat([torch.zeros_like(finger_pose[:, :1]), finger_pose], 1)


def _turned(rotations: Float[Tensor, "hands 3 3"], points: Float[Tensor, "hands points 3"]) -> Float[Tensor, "hands points 3"]:
    """All points of a hand under its rotation."""
    return points @ rotations.transpose(1, 2)
