"""Poses a hand model: linear blend skinning with MANO's semantics, batched, differentiable everywhere.

    pose (B,16,3) axis-angle ┬─> rotations (B,16,3,3) ─> tree ─> joints (B,16,3), transforms (B,16,3,4) ─┐
    betas (B,10) ────────────┴─> rest joints, rest vertices + posedirs (R_1..15 - I) ────────────────────┴─> weights ─> vertices (B,V,3)

As in smplx with `flat_hand_mean=True`: the pose is relative to the template, no mean is added; its first row turns the hand about
joint 0 (the wrist); the translation comes last. Rotation axes are those of the rest pose, for every joint.

A row of a batch has the same bits as the row alone, and a test says so. Products with a constant matrix do not give that by themselves: a matrix
times a vector rounds differently when rows are batched. So directions are multiplied and summed elementwise; only the weights, whose every row
meets a whole matrix, go through a product, and on a GPU not even they. Of the surface the coordinates come before the points, which then lie along memory.

Does not know: joint limits (`anatomy.py`), cameras, left hands (mirror the world).
"""

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from seqgen.hand.model import HandModel
from seqgen.skeleton import CANONICAL_FROM_MANO


class HandMesh(NamedTuple):
    """A batch of posed hands, metres."""

    vertices_m: Float[Tensor, "batch vertices 3"]
    joints_m: Float[Tensor, "batch 21 3"]  # canonical order


def rotation_matrices(axis_angle: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 3 3"]:
    """Rodrigues' formula, smooth through zero: R = I + sinc(a) K + sinc(a/2)^2 K^2 / 2 with a the angle and K the cross product with the vector."""
    squared = (axis_angle * axis_angle).sum(-1)[..., None, None]
    x, y, z = axis_angle.unbind(-1)
    zero = torch.zeros_like(x)
    cross = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], -1).unflatten(-1, (3, 3))
    identity = torch.eye(3, dtype=axis_angle.dtype, device=axis_angle.device)
    # K^2 = v v^T - |v|^2 I
    square = axis_angle[..., :, None] * axis_angle[..., None, :] - squared * identity
    return identity + _sinc_of_square(squared) * cross + 0.5 * _sinc_of_square(squared / 4) ** 2 * square


def _sinc_of_square(squared: Tensor) -> Tensor:
    """sin(x) / x of x^2, by its series near zero, where the root has no derivative; the unused branch is kept finite so that its gradient is."""
    small = squared < 1e-4
    root = torch.where(small, torch.ones_like(squared), squared).sqrt()
    return torch.where(small, 1 - squared / 6 + squared * squared / 120, torch.sin(root) / root)


def _sum_of(directions: Float[Tensor, "points 3 amounts"], amounts: Float[Tensor, "batch amounts"]) -> Float[Tensor, "batch points 3"]:
    """Directions times how much of each, summed. Not `einsum`: its bits depend on the batch."""
    return (directions * amounts[:, None, None]).sum(-1)


def _moved_by(directions: Float[Tensor, "amounts 3 points"], amounts: Float[Tensor, "batch amounts"]) -> Float[Tensor, "batch 3 points"]:
    """The same with coordinates before points, one amount after another: `sum` over the first axis rounds differently in other batches."""
    moved = directions[0] * amounts[:, :1, None]
    for number in range(1, len(directions)):
        moved = moved + directions[number] * amounts[:, number, None, None]
    return moved


def _blended(transforms: Float[Tensor, "batch joints 12"], weights: Float[Tensor, "joints points"]) -> Float[Tensor, "batch 12 points"]:
    """Each point's share of the joints' motions. On the CPU every row has a product of its own; on a GPU a product's rounding may change with the batch, so there
    joints are added one after another."""
    if not transforms.is_cuda:
        return torch.bmm(transforms.mT.contiguous(), weights.expand(len(transforms), -1, -1))
    return _added_up(transforms, weights)


def _added_up(transforms: Float[Tensor, "batch joints 12"], weights: Float[Tensor, "joints points"]) -> Float[Tensor, "batch 12 points"]:
    """`_blended`, elementwise."""
    blended = transforms[:, 0, :, None] * weights[0]
    for joint in range(1, len(weights)):
        blended = blended + transforms[:, joint, :, None] * weights[joint]
    return blended


def _for_each(of_shapes: Float[Tensor, "shapes *rest"], batch: int) -> Float[Tensor, "batch *rest"]:
    """What each shape has, for as many rows as fall to it."""
    if len(of_shapes) == batch:
        return of_shapes
    return of_shapes[:, None].expand(-1, batch // len(of_shapes), *of_shapes.shape[1:]).flatten(0, 1)


class SkinnedPoints(torch.nn.Module):
    """Some vertices of a model with all that moves them."""

    def __init__(self, model: HandModel, vertices: np.ndarray) -> None:
        super().__init__()
        self.register_buffer("template", torch.tensor(model.template_m[vertices]))
        self.register_buffer("shape_directions", torch.tensor(model.shape_directions[vertices].transpose(2, 1, 0).copy()))
        self.register_buffer("weights", torch.tensor(model.skinning_weights[vertices].T.copy()))
        # 15 joints of 9 amounts each; the open hand has none, and they would be most of the work
        by_joint = model.pose_directions[vertices].reshape(-1, 3, 15, 9).transpose(2, 3, 1, 0).copy()
        self.register_buffer("pose_directions", torch.tensor(by_joint) if by_joint.any() else None)

    def rest(self, betas: Float[Tensor, "shapes 10"]) -> Float[Tensor, "shapes 3 points"]:
        """The points of shapes at rest."""
        return self.template.T + _moved_by(self.shape_directions, betas)

    def forward(self, rotations: Float[Tensor, "batch 16 3 3"], betas: Float[Tensor, "shapes 10"], transforms: Float[Tensor, "batch 16 3 4"]) -> Float[Tensor, "batch points 3"]:
        """The points where the transforms carry them, in memory that has their coordinates first; the shapes as in `HandLayer`."""
        rest = self.rest(betas)
        if self.pose_directions is not None:
            rest = _for_each(rest, len(rotations))
            bent = (rotations[:, 1:] - torch.eye(3, dtype=betas.dtype, device=betas.device)).flatten(2)
            for joint, directions in enumerate(self.pose_directions):
                rest = rest + _moved_by(directions, bent[:, joint])
        blended = _blended(transforms.flatten(2), self.weights)
        *columns, carried = blended.unflatten(1, (3, 4)).unflatten(0, (len(rest), -1)).unbind(3)
        for axis, column in enumerate(columns):
            carried = torch.addcmul(carried, column, rest[:, None, axis, None])
        return carried.flatten(0, 1).mT


class HandLayer(torch.nn.Module):
    """A hand model that can be posed. Buffers only, nothing to train; float32 unless converted."""

    def __init__(self, model: HandModel) -> None:
        super().__init__()
        regressor = model.joint_regressor.astype(float)
        directions = np.einsum("jv,vck->jck", regressor, model.shape_directions.astype(float))
        self.register_buffer("joint_template", torch.tensor(regressor @ model.template_m.astype(float), dtype=torch.float32))
        self.register_buffer("joint_directions", torch.tensor(directions, dtype=torch.float32))
        self.surface = SkinnedPoints(model, np.arange(len(model.template_m)))
        self.tips = SkinnedPoints(model, model.tip_vertices)
        self.tip_vertices = model.tip_vertices.tolist()
        tips = torch.tensor(model.shape_directions[model.tip_vertices])
        self.register_buffer("rest_template", _canonical(self.joint_template[None], self.tips.template[None])[0])
        self.register_buffer("rest_directions", _canonical(self.joint_directions.movedim(-1, 0), tips.movedim(-1, 0)).movedim(0, -1).contiguous())

    def forward(self, pose: Float[Tensor, "batch 16 3"], betas: Float[Tensor, "shapes 10"], translation_m: Float[Tensor, "batch 3"]) -> HandMesh:
        """Surface and joints of hands of these parameters: as many shapes as poses, or fewer, each for as many poses in a row (clips of one hand; one for all),
        which is faster and gives the same bits."""
        rotations, joints, transforms = self._posed_tree(pose, betas)
        vertices = self.surface(rotations, betas, transforms)
        joints = _canonical(joints, vertices[:, self.tip_vertices])
        return HandMesh(vertices + translation_m[:, None], joints + translation_m[:, None])

    def joints(self, pose: Float[Tensor, "batch 16 3"], betas: Float[Tensor, "batch 10"]) -> Float[Tensor, "batch 21 3"]:
        """The joints alone, untranslated: of the surface only the five tips are skinned, so they are as exact as in `forward`."""
        rotations, joints, transforms = self._posed_tree(pose, betas)
        return _canonical(joints, self.tips(rotations, betas, transforms))

    def rest_joints(self, betas: Float[Tensor, "batch 10"]) -> Float[Tensor, "batch 21 3"]:
        """The joints of hands at rest, without any rotation."""
        return self.rest_template + _sum_of(self.rest_directions, betas)

    def _posed_tree(self, pose: Tensor, betas: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Local rotations (B,16,3,3), joints (B,16,3) and the motions (B,16,3,4) that carry each joint's rest surroundings along."""
        rotations = rotation_matrices(pose)
        rest = _for_each(self.joint_template + _sum_of(self.joint_directions, betas), len(pose))
        # MANO's tree is five chains of three below the wrist, in order: all five take a step at once.
        chain_rotations, chain_rest = rotations[:, 1:].unflatten(1, (5, 3)), rest[:, 1:].unflatten(1, (5, 3))
        turned, at, before = [rotations[:, :1].expand(-1, 5, -1, -1)], [rest[:, :1].expand(-1, 5, -1)], rest[:, :1]
        for link in range(3):
            at.append(at[-1] + _turn(turned[-1], chain_rest[:, :, link] - before))
            turned.append((turned[-1][..., None] * chain_rotations[:, :, link, None]).sum(-2))
            before = chain_rest[:, :, link]
        joints = torch.cat([rest[:, :1], torch.stack(at[1:], 2).flatten(1, 2)], 1)
        world = torch.cat([rotations[:, :1], torch.stack(turned[1:], 2).flatten(1, 2)], 1)
        return rotations, joints, torch.cat([world, (joints - _turn(world, rest))[..., None]], -1)


def _turn(rotations: Float[Tensor, "*batch 3 3"], points: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 3"]:
    """Each point under its rotation."""
    return (rotations * points[..., None, :]).sum(-1)


def _canonical(joints: Float[Tensor, "batch 16 3"], tips: Float[Tensor, "batch 5 3"]) -> Float[Tensor, "batch 21 3"]:
    """MANO's joints and the tips in the canonical order."""
    return torch.cat([joints, tips], 1)[:, list(CANONICAL_FROM_MANO)]
