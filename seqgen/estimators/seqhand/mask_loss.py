"""How far projected points lie outside a hand's mask, smoothly enough to learn from.

SeqHAND's Eq. 11 counts the vertices that fall outside, which has no gradient. Here a point at distance d from the mask counts 1 - exp(-d / reach): zero inside,
one far away, with a slope that always leads back. Distances are those to the nearest cell of a coarse grid that has a hand's pixel in it, interpolated
bilinearly, less half a cell, so that all of the mask is inside.

What is beyond the picture is unknown: a point there is as far as its nearest border point is, and where that is no hand, as much farther as it lies beyond.

Does not know: hands, cameras, batches.
"""

from functools import reduce

import torch
from jaxtyping import Bool, Float, Float32
from torch import Tensor
from torch.nn import functional


def outside_share(
    points_px: Float[Tensor, "frames points 2"], mask: Bool[Tensor, "frames size size"], *, reach: float = 0.1, cells: int = 56
) -> Float[Tensor, "frames"]:
    """The mean of 1 - exp(-d / reach) over points; `reach` as a share of the picture's side. A frame without any hand in its mask gives zero."""
    size = mask.shape[-1]
    cell = max(1, round(size / cells))
    grid = occupied_cells(mask, cell)
    distance = distance_px(points_px, cell_distances(grid).to(points_px), cell, size)
    return torch.where(grid.any(-1).any(-1), -torch.expm1(-distance / (reach * size)).mean(1), torch.zeros_like(distance[:, 0]))


def occupied_cells(mask: Bool[Tensor, "frames size size"], cell: int) -> Bool[Tensor, "frames cells cells"]:
    """Which squares of `cell` by `cell` pixels have any of the mask in them."""
    beyond = -mask.shape[-1] % cell
    if beyond:
        mask = functional.pad(mask, (0, beyond, 0, beyond))
    return reduce(torch.logical_or, (mask[:, row::cell, column::cell] for row in range(cell) for column in range(cell)))


def cell_distances(grid: Bool[Tensor, "frames cells cells"]) -> Float32[Tensor, "frames cells cells"]:
    """From each cell's centre to that of the nearest one that is set, in cells: exact, along columns and then along rows. Farther than any where none is."""
    cells = grid.shape[-1]
    squared = torch.where(grid.permute(1, 2, 0), 0.0, 2.0 * cells**2)  # what is swept along comes first in memory, frames last
    squared = _nearest_along_first(_nearest_along_first(squared).transpose(0, 1).contiguous())
    return squared.permute(2, 1, 0).sqrt()


def _nearest_along_first(squared: Float32[Tensor, "cells across frames"]) -> Float32[Tensor, "cells across frames"]:
    """The least, over places p' of the first axis, of the value there plus (p - p')^2 (Felzenszwalb and Huttenlocher 2012), by trying all distances: with so few
    cells that takes a fifteenth of the time of a table of all pairs, which does not fit the processor's cache."""
    least, candidate = squared.clone(), torch.empty_like(squared)
    for apart in range(1, len(squared)):
        torch.add(squared, float(apart**2), out=candidate)
        torch.minimum(least[apart:], candidate[:-apart], out=least[apart:])
        torch.minimum(least[:-apart], candidate[apart:], out=least[:-apart])
    return least


def distance_px(points_px: Float[Tensor, "frames points 2"], distances: Float[Tensor, "frames cells cells"], cell: int, size: int) -> Float[Tensor, "frames points"]:
    """The distance of points from the set cells, px, zero in all of a cell that is set; beyond the picture as told above."""
    within = points_px.clamp(-0.5, size - 0.5)
    at = 2 * (within + 0.5) / (cell * distances.shape[-1]) - 1  # -1 and 1 are the outer edges of the grid
    cells_away = functional.grid_sample(distances[:, None], at[:, None], mode="bilinear", padding_mode="border", align_corners=False)[:, 0, 0]
    cells_away = (cells_away - 0.5).clamp(min=0)
    beyond = (points_px - within).abs().sum(-1)
    return cell * cells_away + beyond * cells_away.clamp(max=1)
