"""The mask loss: distances against scipy's and closed forms, what counts beyond the picture, and that it brings a misplaced hand back."""

import math

import numpy as np
import pytest
import torch
from scipy.ndimage import distance_transform_edt

from seqgen.estimators.seqhand.mask_loss import cell_distances, distance_px, occupied_cells, outside_share
from seqgen.estimators.seqhand.parametric_hand import ComponentHandLayer, ParametricHand
from seqgen.hand import load_hand
from seqgen.pipeline.process import one_thread
from seqgen.skeleton import PALM_M

OPEN = load_hand("open")


@pytest.fixture(autouse=True)
def alone():
    """One thread: these are many small sums."""
    with one_thread():
        yield


def test_cell_distances_equal_scipys():
    grid = torch.rand(6, 23, 23, generator=torch.Generator().manual_seed(0)) > 0.97
    ours = cell_distances(grid)
    for frame in range(6):
        np.testing.assert_allclose(ours[frame], distance_transform_edt(~grid[frame].numpy()), atol=1e-5)


@pytest.mark.parametrize(("size", "cell"), [(24, 4), (22, 4), (9, 1), (10, 3)])
def test_a_cell_is_set_when_any_of_its_pixels_is(size, cell):
    mask = torch.rand(3, size, size, generator=torch.Generator().manual_seed(1)) > 0.93
    grid, cells = occupied_cells(mask, cell), -(-size // cell)
    assert grid.shape == (3, cells, cells)
    for row in range(cells):
        for column in range(cells):
            inside = mask[:, row * cell : (row + 1) * cell, column * cell : (column + 1) * cell]
            assert torch.equal(grid[:, row, column], inside.flatten(1).any(1))


def left_part(size, columns):
    """A mask of the leftmost columns."""
    mask = torch.zeros(1, size, size, dtype=torch.bool)
    mask[:, :, :columns] = True
    return mask


@pytest.mark.parametrize(("size", "cells"), [(56, 56), (112, 56), (224, 56)])
def test_distance_to_a_straight_edge(size, cells):
    """The mask ends at 24/56 of the width; its outer edge is half a pixel beyond the last column's centre."""
    cell, columns = size // cells, 24 * size // 56
    x = torch.linspace(-0.4, size - 0.6 - cell / 2, 57)
    points = torch.stack([x, torch.full_like(x, size / 3)], -1)[None]
    distance = distance_px(points, cell_distances(occupied_cells(left_part(size, columns), cell)), cell, size)[0]
    torch.testing.assert_close(distance, (x - (columns - 0.5)).clamp(min=0), atol=1e-3, rtol=0)
    share = outside_share(points, left_part(size, columns), reach=0.2, cells=cells)
    torch.testing.assert_close(share[0], (1 - torch.exp(-distance / (0.2 * size))).mean(), atol=1e-5, rtol=0)


def test_inside_is_zero_to_the_last_pixel_along_edges():
    mask = torch.zeros(1, 64, 64, dtype=torch.bool)
    mask[0, 20:40, 8:48] = True
    y, x = torch.nonzero(mask[0], as_tuple=True)
    points = torch.stack([x, y], -1).float()[None]
    corners = ((x < 10) | (x > 45)) & ((y < 22) | (y > 37))
    distance = distance_px(points, cell_distances(occupied_cells(mask, 4)), 4, 64)[0]
    assert (distance[~corners] == 0).all() and distance[corners].max() < 2


def test_beyond_the_picture():
    """Beyond a border where the mask goes on nothing is known, and nothing counts; elsewhere a point is as far as its way back to the picture and on to the mask."""
    mask = left_part(56, 20)
    points = torch.tensor([[[-30.0, 25.0], [-8.0, 3.0], [75.0, 25.0], [75.0, 70.0]]], requires_grad=True)
    distance = distance_px(points, cell_distances(mask), 1, 56)[0]
    expected = [0.0, 0.0, 75 - 19.5, 75 - 19.5 + (70 - 55.5)]
    assert distance.tolist() == pytest.approx(expected, abs=0.6)  # half a cell is lost at the border
    (gradient,) = torch.autograd.grad(distance.sum(), points)
    assert gradient[0].tolist() == pytest.approx(np.array([[0, 0], [0, 0], [1, 0], [1, 1]]))


def test_a_frame_without_a_hand_costs_nothing():
    points = (30 * torch.ones(2, 4, 2)).requires_grad_()
    masks = torch.stack([torch.zeros(32, 32, dtype=torch.bool), left_part(32, 4)[0]])
    share = outside_share(points, masks)
    (gradient,) = torch.autograd.grad(share.sum(), points)
    assert share[0] == 0 and share[1] > 0.5 and gradient[0].abs().max() == 0 and gradient[1].isfinite().all()


def filled(triangles_px, size):
    """The pixels nearest to points spread densely over triangles."""
    mask, steps = torch.zeros(size, size, dtype=torch.bool), 12
    for i in range(steps + 1):
        for j in range(steps + 1 - i):
            x, y = ((triangles_px * torch.tensor([i, j, steps - i - j])[:, None]).sum(1) / steps).round().long().T
            mask[y, x] = True
    return mask


@pytest.mark.parametrize("size", [224, 112])
def test_the_mask_moves_the_hand(size):
    """A hand put 20 to 40 px (of 224) away in any direction comes back to within 3 px by its mask alone, by its translation alone."""
    hand, generator = ParametricHand(ComponentHandLayer(OPEN)), torch.Generator().manual_seed(0)
    px = size / 224
    hand.set_start(600 * px, (size / 2, size / 2))
    numbers = 0.5 * torch.randn(1, 26, generator=generator)
    numbers[:, :3] = 0
    surface = hand(numbers).project(hand(numbers).vertices_m())[0]
    unit = hand.start_scale_px_per_m * PALM_M
    centred = (size / 2 - (surface.amin(0) + surface.amax(0)) / 2) / unit
    numbers[:, 1:3] = centred
    surface = hand(numbers).project(hand(numbers).vertices_m())[0]
    mask = filled(surface[torch.tensor(OPEN.faces.astype(np.int64))], size)
    assert outside_share(hand(numbers).points_px(), mask[None])[0] < 1e-3

    angles = torch.arange(8) * math.pi / 4
    offsets = torch.tensor([20.0, 40.0] * 4)[:, None] * px * torch.stack([angles.cos(), angles.sin()], 1)
    translation = (centred + offsets / unit).clone().requires_grad_()
    optimiser = torch.optim.Adam([translation], lr=0.03)
    for _ in range(100):
        moved = torch.cat([numbers[:, :1].expand(8, -1), translation, numbers[:, 3:].expand(8, -1)], 1)
        loss = outside_share(hand(moved).points_px(), mask.expand(8, -1, -1)).sum()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert ((translation - centred) * unit).norm(dim=1).max() < 3 * px


def test_points_have_gradients_by_finite_differences():
    generator = torch.Generator().manual_seed(2)
    points = (70 * torch.rand(2, 9, 2, generator=generator, dtype=torch.float64) - 7).requires_grad_()
    mask = left_part(56, 11).expand(2, -1, -1) & (torch.arange(56)[:, None] > 20)
    assert torch.autograd.gradcheck(lambda p: outside_share(p, mask, cells=14), (points,))
