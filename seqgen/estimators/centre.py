"""Cubes moved from the centre of mass to the middle of the joints by a taught network: the localisation refinement of SRN (Ren et al., BMVC 2019, section 4.2).

    cube about the centre of mass ──> depth crop of 96 px, of left hands in the mirror ──> CentreNetwork ──> offset, half cubes ──> cube about the joints' middle

The network and its weights (`assets/centre.safetensors`, made by `python -m seqgen.estimators.build_centre`) are the same for all estimators: it sees a depth
crop also where the estimator is shown points. Frames are looked at one by one, so that a frame's centre depends on nothing but the frame. Does not know:
labels, estimators, how the centre of mass was found. docs/benchmarks/centre.md says how good it is.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Float32, UInt16
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from seqgen.camera import CameraKind
from seqgen.errors import UserError
from seqgen.estimators.centre_network import CentreNetwork
from seqgen.estimators.views.crop import crop_from_picture, scale_and_turn
from seqgen.estimators.views.cube import Cubes, cube_squares, depth_crop
from seqgen.estimators.views.sample import flip_of_crop
from seqgen.files import written_aside

Array = np.ndarray
Network = Callable[[Float32[Tensor, "batch 1 height width"]], Float32[Tensor, "batch 3"]]  # depth crops to offsets, half cubes

SHIPPED = Path(__file__).parent / "assets" / "centre.safetensors"
SIZE = 96  # side of the crop, pixels
EDGE_M = (0.2, 0.3)  # of cubes that the network was taught with: of smaller and larger ones it is shown these


def refined(
    cubes: Cubes,
    depth_tenth_mm: UInt16[Array, "frames height width"],
    intrinsics: Float[Array, "frames 3 3"],
    kind: CameraKind,
    *,
    left: bool,
    network: Network,
    passes: int = 1,
) -> Cubes:
    """The cubes moved by what `network` says, along the camera's axes. `left`: the hands are left ones, which it sees in the mirror.

    `passes`: how often. Once is enough where the hand is in the cube; along an arm the network goes half a cube a pass.
    """
    for _ in range(passes):
        seen = replace(cubes, edge_m=cubes.edge_m.clip(*EDGE_M))
        crops, turn = centre_crops(seen, depth_tenth_mm, intrinsics, kind, left=left)
        with torch.no_grad():
            offset = np.concatenate([network(crop[None, None]).numpy() for crop in torch.from_numpy(crops)]).astype(float)
        moved = np.concatenate([np.einsum("tji,tj->ti", turn, offset[:, :2]), offset[:, 2:]], 1)  # the turn's inverse: from the crop's axes to the camera's
        cubes = replace(cubes, centre_m=cubes.centre_m + moved * seen.edge_m[:, None] / 2)
    return cubes


def centre_crops(
    cubes: Cubes,
    depth_tenth_mm: UInt16[Array, "frames height width"],
    intrinsics: Float[Array, "frames 3 3"],
    kind: CameraKind,
    *,
    left: bool,
    turn_rad: float | Float[Array, "frames"] = 0.0,
) -> tuple[Float32[Array, "frames 96 96"], Float[Array, "frames 2 2"]]:
    """What the network is shown, and the turn from the camera's axes to those of each crop, a reflection for left hands. `turn_rad` as in `crop_from_picture`."""
    crop = crop_from_picture(cube_squares(cubes, intrinsics.astype(float), kind), SIZE, turn_rad=turn_rad)
    seen = flip_of_crop(SIZE) @ crop if left else crop
    return depth_crop(depth_tenth_mm, seen, cubes, SIZE), scale_and_turn(seen)[1]


@cache
def shipped_network() -> CentreNetwork:
    """The network that ships, read once a process."""
    return load_centre_network(SHIPPED)


def load_centre_network(path: Path) -> CentreNetwork:
    """The network kept in a safetensors file, for use, not for training. A UserError when it is not one."""
    network = CentreNetwork()
    try:
        network.load_state_dict(load_file(path))
    except FileNotFoundError:
        raise UserError(f"{path}: no such centre network; `python -m seqgen.estimators.build_centre` makes one") from None
    except (SafetensorError, RuntimeError) as error:
        raise UserError(f"{path}: not a centre network of seqgen: {str(error).splitlines()[0]}") from None
    return network.eval().requires_grad_(False)


def save_centre_network(network: CentreNetwork, path: Path) -> None:
    """Weights to a safetensors file, in half precision, whole or not at all."""
    weights = {name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in network.state_dict().items()}
    with written_aside(path) as aside:
        save_file({name: tensor.contiguous() for name, tensor in weights.items()}, aside)
