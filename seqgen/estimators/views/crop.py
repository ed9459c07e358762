"""Where a network looks: squares of pictures, cut out, turned and brought to the network's size.

    crop_from_picture (T,3,3): a pixel of the picture to a pixel of the crop; a similarity [[s Q, t], [0 0 1]] with Q a turn, or a turn of the mirror image

Both count pixel centres at integers, so a square of side a about c is the pixels c - a/2 .. c + a/2 and its crop of size S is -0.5 .. S - 0.5.
Knows nothing of hands and labels: `sample` carries those along.
"""

from typing import Literal

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from PIL import Image
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from seqgen.config import Section
from seqgen.joint_targets import JointSetName

Array = np.ndarray

FULL = 254  # level of a mask's pixels, even: what is half covered is 127, and not above 127.5


class InputConfig(Section):
    size: int = Field(224, ge=16, le=1024)
    """side of the network's input, pixels"""
    crop: Literal["picture", "box"] = "picture"
    """picture: the largest square in the middle of the picture; box: a square about the hand's box in each frame"""
    margin: float = Field(2.2, ge=1.0, le=10.0)
    """with crop = box: the square's side over the box's longer edge (SeqHAND, section 5)"""
    joints: JointSetName = "canonical"
    """the joints that are taught: 21, 21 in MSRA's order, 14 as NYU's, 16 as ICVL's"""
    root: Literal["unknown", "given"] = "unknown"
    """whether the network is told where the root of the hand is, as protocols of root-relative depth have it (RHD, STB, FreiHAND)"""


def crop_squares(clip_size: tuple[int, int], box_px: Float[Array, "frames 4"], config: InputConfig) -> Float[Array, "frames 3"]:
    """Centre x, y and side in pixels of the square that each frame of a clip of `clip_size` = (width, height) is cropped to.

    A frame whose box is empty gets the square of the whole picture: nothing better is known.
    """
    width, height = clip_size
    whole = np.array([(width - 1) / 2, (height - 1) / 2, min(width, height)])
    if config.crop == "picture":
        return np.repeat(whole[None], len(box_px), 0)
    low, high = box_px[:, :2].astype(float), box_px[:, 2:].astype(float)
    longer = (high - low).max(1, keepdims=True)
    squares = np.concatenate([(low + high) / 2, config.margin * longer], 1)
    return np.where(longer > 0, squares, whole)


def crop_from_picture(squares: Float[Array, "frames 3"], size: int, *, turn_rad: float | Float[Array, "frames"] = 0.0) -> Float[Array, "frames 3 3"]:
    """The map that brings each square to `size` pixels, turned about its centre by `turn_rad`, from x towards y: clockwise as one sees it."""
    scale = size / squares[:, 2]
    cosine, sine = scale * np.cos(turn_rad), scale * np.sin(turn_rad)
    matrix = np.zeros((len(squares), 3, 3))
    matrix[:, 0, 0], matrix[:, 0, 1], matrix[:, 1, 0], matrix[:, 1, 1], matrix[:, 2, 2] = cosine, -sine, sine, cosine, 1
    matrix[:, :2, 2] = (size - 1) / 2 - np.einsum("tij,tj->ti", matrix[:, :2, :2], squares[:, :2])
    return matrix


def to_crop(points_px: Float[Array, "frames points 2"], crop_from_picture: Float[Array, "frames 3 3"]) -> Float[Array, "frames points 2"]:
    """Pixels of the crop of pixels of the picture."""
    return np.einsum("tij,tnj->tni", crop_from_picture[:, :2, :2], points_px) + crop_from_picture[:, None, :2, 2]


def to_picture(joints_px: Float[Array, "frames points 2"], crop_from_picture: Float[Array, "frames 3 3"]) -> Float[Array, "frames points 2"]:
    """Pixels of the picture of pixels of the crop: the inverse of `to_crop`, mirrored back where the crop is of the mirror image."""
    return to_crop(joints_px, np.linalg.inv(crop_from_picture.astype(float)))


def scale_and_turn(crop_from_picture: Float[Array, "frames 3 3"]) -> tuple[Float[Array, "frames"], Float[Array, "frames 2 2"]]:
    """The factor from pixels of the picture to those of the crop, and the turn (of the mirror image, if its determinant is -1). ValueError if it is no similarity."""
    linear = crop_from_picture[:, :2, :2].astype(float)
    scale = np.sqrt(np.abs(np.linalg.det(linear)))
    turn = linear / scale[:, None, None]
    if not np.allclose(turn @ np.swapaxes(turn, 1, 2), np.eye(2), atol=1e-4):
        raise ValueError("a crop may scale, turn, shift and mirror a picture, but not shear or stretch it")
    return scale, turn


def resample(
    pictures: UInt8[Array, "frames height width 3"] | Bool[Array, "frames height width"], crop_from_picture: Float[Array, "frames 3 3"], size: int
) -> UInt8[Array, "frames size size 3"] | Bool[Array, "frames size size"]:
    """The crops, or those of masks: true where more than half of the pixel is.

    Where the picture is shrunk, blocks of k x k pixels are averaged first, k the nearest whole number to how much; what is left, at most a factor of 1.5, is
    bilinear. So a whole number of times smaller is the area's average, the same size is the same bytes, and a ramp stays a ramp. Beyond the picture there is
    black: repeating its edge would draw out the fingers that it cuts. Pillow averages three times as fast as torch; torch interpolates three times as fast
    as Pillow (0.06 ms a frame of 112 px), and rounds where Pillow cuts off. The same bits on any number of threads.
    """
    if pictures.shape[1:3] == (size, size) and (crop_from_picture == np.eye(3)).all():
        return pictures  # what the rest comes to
    is_mask = pictures.dtype == bool
    scale, _ = scale_and_turn(crop_from_picture)
    shrink = max(1, round(1 / float(scale.mean())))
    picture_from_crop = np.linalg.inv(crop_from_picture.astype(float))
    seen, (left, top) = _region_seen(pictures, picture_from_crop, size, shrink)
    blocks = _block_means(seen.view(np.uint8) * np.uint8(FULL) if is_mask else seen, shrink)
    blocks_from_picture = np.array([[1 / shrink, 0, -(left + (shrink - 1) / 2) / shrink], [0, 1 / shrink, -(top + (shrink - 1) / 2) / shrink], [0, 0, 1]])
    grid = _sampling_grid(blocks_from_picture @ picture_from_crop, size, blocks.shape[2], blocks.shape[1])
    planes = torch.from_numpy(blocks).float()
    planes = planes[:, None] if is_mask else planes.permute(0, 3, 1, 2)
    crops = functional.grid_sample(planes, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    return (crops[:, 0] > (FULL + 1) / 2).numpy() if is_mask else crops.round_().to(torch.uint8).permute(0, 2, 3, 1).numpy()


def _region_seen(pictures: Array, picture_from_crop: Float[Array, "frames 3 3"], size: int, shrink: int) -> tuple[Array, tuple[int, int]]:
    """The part of the pictures that some crop shows, and the pixel where it begins, a whole number of blocks from the picture's corner."""
    edges = np.array([-1.0, size])
    corners = np.stack([*np.meshgrid(edges, edges), np.ones((2, 2))], -1).reshape(4, 3)
    places = np.einsum("tij,nj->tni", picture_from_crop, corners)[..., :2].reshape(-1, 2)
    spans = []
    for (low, high), length in zip(np.stack([places.min(0), places.max(0)], 1), pictures.shape[2:0:-1], strict=True):
        first = int(np.clip(np.floor(low) - shrink, 0, length - 1)) // shrink * shrink
        spans.append((first, int(np.clip(np.ceil(high) + shrink + 1, first + 1, length))))
    (left, right), (top, bottom) = spans
    return pictures[:, top:bottom, left:right], (left, top)


def _block_means(pictures: UInt8[Array, "frames height width *channels"], side: int) -> UInt8[Array, "frames rows columns *channels"]:
    """Means of blocks of side x side pixels, rounded; of what there is of a block at the right and lower edge."""
    if side == 1:
        return np.ascontiguousarray(pictures)
    return np.stack([np.asarray(Image.fromarray(picture).reduce(side)) for picture in pictures])


def _sampling_grid(source_from_crop: Float[Array, "frames 3 3"], size: int, width: int, height: int) -> Float[Tensor, "frames size size 2"]:
    """For every pixel of the crops its place in the source, as `grid_sample` counts: -1 and 1 at the outer edges. Summed by hand: a product's bits may depend on threads."""
    along = np.arange(size)
    grid = np.empty((len(source_from_crop), size, size, 2), np.float32)
    for axis, length in enumerate((width, height)):
        across, down, shift = (source_from_crop[:, axis, column, None] * (2 / length) for column in range(3))
        rows = down * along + (shift + 1 / length - 1)
        np.add((across * along).astype(np.float32)[:, None], rows.astype(np.float32)[:, :, None], out=grid[..., axis])
    return torch.from_numpy(grid)
