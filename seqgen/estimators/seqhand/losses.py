"""The losses of SeqHAND-Net (Yang et al., ECCV 2020, Eq. 8-15), with the units that the paper leaves open made plain.

    term         of a frame, a pair of frames                                     mean over               unit
    joints_2d    |dx| + |dy| of a joint                                           valid joints            `unit_2d_px` px of a 224 px crop
    joints_3d    squared distance of a joint, root-relative                       valid joints            `unit_3d_m` squared
    vertices_3d  the same of a vertex, where clips have them                      vertices                `unit_3d_m` squared
    mask         1 - exp(-distance of a surface point outside the mask / reach)   points of clips with masks
    temporal     |d betas|^2 + lambda_theta |d theta|^2 from frame to frame       pairs of valid frames
    camera       |d theta|^2 + |d betas|^2 + rotation + scale + translation       frames of clips with poses

The paper sums over the joints of a frame where this takes means: its 2D term, in px, is 21 * `unit_2d_px` times ours, its 3D term, in m^2, 21 * `unit_3d_m`^2
times ours. Its weights of 5 and 100 do not suit px and metres: at 700 px/m a joint that is 10 mm off sideways is pulled by 5 * 700 = 3500 a metre through its
pixels and by 100 * 2 * 0.01 = 2 through its place. With 10 px and 0.1 m it is 350 and 200, the same at 17.5 mm; as values, weighted, they are 3.2 at 5 px and
1.0 at 10 mm, of the size of the others: 2.9 of the camera term with theta off by 0.2 and betas by 0.5 each, 1 of the mask term with a tenth of the hand far outside.

In the camera term, rotations are compared as rotations, by half the squared chordal distance |R - R'|^2 / 2 = 2 - 2 cos(angle): angle^2 when small, as the
squared difference of axis-angle vectors would be, but single-valued, and smooth at no turn and at half a turn, where the geodesic angle has no derivative.
Scale by the logarithm of its ratio, translation in palms (`PALM_M`) of the label's scale: raw pixels would drown everything else. The theta of a label is
its finger pose in least squares.

Does not know: the network, how a batch was made.
"""

import torch
from jaxtyping import Bool, Float
from pydantic import Field
from torch import Tensor

from seqgen.config import Section
from seqgen.estimators.seqhand.mask_loss import outside_share
from seqgen.estimators.seqhand.parametric_hand import HandOutput
from seqgen.estimators.views.batch import Batch
from seqgen.hand.layer import rotation_matrices
from seqgen.skeleton import PALM_M

REFERENCE_SIZE_PX = 224


class SeqHandLosses(Section):
    joints_2d: float = Field(5.0, ge=0)
    """weight of the joints' pixels"""
    joints_3d: float = Field(100.0, ge=0)
    """weight of the joints' places"""
    vertices_3d: float = Field(100.0, ge=0)
    """weight of the vertices' places, where a data set has them"""
    temporal: float = Field(100.0, ge=0)
    """weight of the change of shape and pose from frame to frame"""
    camera: float = Field(1.0, ge=0)
    """weight of pose, shape, rotation, scale and translation, where a data set has them; the paper has none on real images"""
    mask: float = Field(10.0, ge=0)
    """weight of surface points outside the hand's mask, where a data set has one"""
    lambda_theta: float = Field(2e-4, ge=0)
    """change of pose against change of shape in the temporal term; 2e-4 is the paper's training setting, its text also says 0.01"""
    unit_2d_px: float = Field(10.0, gt=0)
    """what counts as one in the 2D term, px of a 224 px crop"""
    unit_3d_m: float = Field(0.1, gt=0)
    """what counts as one, before squaring, in the 3D terms, metres"""
    mask_points: int = Field(200, ge=1)
    """vertices that stand for the surface in the mask term, spread evenly; more than there are: all"""
    mask_reach: float = Field(0.1, gt=0)
    """how far outside the mask a point still counts less than one far away, as a share of the crop's side"""
    mask_cells: int = Field(56, ge=2)
    """cells along the side of the grid on which distances to the mask are measured"""


def seqhand_losses(output: HandOutput, batch: Batch, config: SeqHandLosses) -> dict[str, Float[Tensor, ""]]:
    """Weighted terms by name. `output`: of the batch's frames, clip after clip. A term of weight zero, or that no clip could have, is left out;
    one whose labels no clip has is zero."""
    terms = {
        "joints_2d": lambda: joints_2d(output, batch) / config.unit_2d_px,
        "joints_3d": lambda: joints_3d(output, batch) / config.unit_3d_m**2,
        "mask": lambda: mask(output, batch, config),
        "temporal": lambda: temporal(output, batch, config.lambda_theta),
        "camera": lambda: camera(output, batch),
    }
    if batch.vertices_m is not None and batch.vertices_m.shape[2] == output.hand.num_vertices:
        terms["vertices_3d"] = lambda: vertices_3d(output, batch) / config.unit_3d_m**2
    return {name: getattr(config, name) * term() for name, term in terms.items() if getattr(config, name) > 0}


def joints_2d(output: HandOutput, batch: Batch) -> Float[Tensor, ""]:
    """Eq. 8: |dx| + |dy| over valid joints, mean, px of a 224 px crop."""
    valid = batch.joints_valid.flatten(0, 1)
    difference = _where(valid[..., None], output.joints_px - batch.joints_px.flatten(0, 1))
    return difference.abs().sum() / _count(valid) * (REFERENCE_SIZE_PX / batch.rgb.shape[-1])


def joints_3d(output: HandOutput, batch: Batch) -> Float[Tensor, ""]:
    """Eq. 9: squared distance of root-relative joints, mean over valid ones, m^2."""
    valid = batch.joints_valid.flatten(0, 1)
    return _where(valid[..., None], output.joints_m - batch.joints_m.flatten(0, 1)).square().sum() / _count(valid)


def vertices_3d(output: HandOutput, batch: Batch) -> Float[Tensor, ""]:
    """Eq. 10: squared distance of root-relative vertices, mean over those of valid frames of clips that have them, m^2."""
    assert batch.vertices_m is not None
    valid = valid_frames(batch) & batch.has_vertices[:, None]
    difference = _where(valid.flatten()[:, None, None], output.vertices_m() - batch.vertices_m.flatten(0, 1))
    return difference.square().sum() / (_count(valid) * difference.shape[1])


def mask(output: HandOutput, batch: Batch, config: SeqHandLosses) -> Float[Tensor, ""]:
    """Eq. 11, smooth: how far outside the mask the surface is (`mask_loss`), mean over valid frames of clips that have one."""
    valid = (valid_frames(batch) & batch.has_mask[:, None]).flatten()
    outside = outside_share(output.points_px(), batch.mask.flatten(0, 1), reach=config.mask_reach, cells=config.mask_cells)
    return _where(valid, outside).sum() / _count(valid)


def temporal(output: HandOutput, batch: Batch, lambda_theta: float) -> Float[Tensor, ""]:
    """Eq. 12: squared change of betas and, times `lambda_theta`, of theta, mean over pairs of successive valid frames; zero for stills."""
    valid = valid_frames(batch)
    pairs = valid[:, 1:] & valid[:, :-1]
    betas, theta = (values.unflatten(0, valid.shape).diff(dim=1).square().sum(-1) for values in (output.betas, output.theta))
    return _where(pairs, betas + lambda_theta * theta).sum() / _count(pairs)


def camera(output: HandOutput, batch: Batch) -> Float[Tensor, ""]:
    """Eq. 13 with rotation, scale and translation compared as told above, mean over valid frames of clips with poses that have a camera."""
    pose, label = batch.pose.flatten(0, 1), batch.weak_perspective.flatten(0, 1)
    valid = (valid_frames(batch) & batch.has_pose[:, None]).flatten() & (label[:, 0] > 0)
    scale = torch.where(valid, label[:, 0], 1.0)
    betas = batch.betas.repeat_interleave(batch.pose.shape[1], 0)
    off = (
        (output.theta - output.hand.theta_of_pose(pose)).square().sum(-1)
        + (output.betas - betas).square().sum(-1)
        + 0.5 * (output.rotation - rotation_matrices(pose[:, 0])).square().sum((-1, -2))
        + (output.scale_px_per_m / scale).log().square()
        + ((output.translation_px - label[:, 1:]) / (scale * PALM_M)[:, None]).square().sum(-1)
    )
    return _where(valid, off).sum() / _count(valid)


def valid_frames(batch: Batch) -> Bool[Tensor, "batch frames"]:
    """Frames with any label; the others are padding."""
    return batch.joints_valid.any(-1)


def _where(valid: Bool[Tensor, "..."], values: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """The values, zero where not valid, also where they are not finite."""
    return torch.where(valid, values, torch.zeros_like(values))


def _count(valid: Bool[Tensor, "..."]) -> Tensor:
    """How many are valid, at least one."""
    return valid.sum().clamp(min=1)
