"""Crops: where they lie, that pictures land where the map says, and what becomes of pixels on the way."""

import numpy as np
import pytest

from seqgen.estimators.views.crop import InputConfig, crop_from_picture, crop_squares, resample, scale_and_turn, to_crop, to_picture

RNG = np.random.default_rng(0)
NOISE = RNG.integers(0, 256, (2, 48, 64, 3)).astype(np.uint8)
BOXES = np.array([[10, 4, 30, 44], [0, 0, 0, 0]], np.float32)
SQUARES = np.array([[31.0, 20.5, 37.0], [12.25, 40.0, 90.0]])


def ramp(slope_x: float, slope_y: float, size: tuple[int, int] = (64, 48)) -> np.ndarray:
    """A clip of one frame whose levels rise evenly from 20."""
    x, y = np.meshgrid(np.arange(size[0]), np.arange(size[1]))
    return np.repeat((20 + slope_x * x + slope_y * y)[None, ..., None], 3, -1).astype(np.uint8)


def test_squares() -> None:
    picture = crop_squares((64, 48), BOXES, InputConfig(crop="picture"))
    np.testing.assert_array_equal(picture, [[31.5, 23.5, 48]] * 2)
    box = crop_squares((64, 48), BOXES, InputConfig(crop="box", margin=2.5))
    np.testing.assert_array_equal(box, [[20, 24, 100], [31.5, 23.5, 48]])  # about the first hand; the second frame shows none


@pytest.mark.parametrize("turn_rad", [0.0, 0.7, np.array([2.0, -1.1])])
def test_the_map_brings_the_square_to_the_crop(turn_rad: float | np.ndarray) -> None:
    matrix = crop_from_picture(SQUARES, 56, turn_rad=turn_rad)
    centre, half = SQUARES[:, None, :2], SQUARES[:, 2] / 2
    angles = np.broadcast_to(turn_rad, 2)
    x_axis, y_axis = np.stack([np.cos(angles), -np.sin(angles)], -1), np.stack([np.sin(angles), np.cos(angles)], -1)  # of the crop, as they lie in the picture
    places = np.stack([centre[:, 0], centre[:, 0] + half[:, None] * x_axis, centre[:, 0] + half[:, None] * (y_axis - x_axis)], 1)
    np.testing.assert_allclose(to_crop(places, matrix), [[[27.5, 27.5], [55.5, 27.5], [-0.5, 55.5]]] * 2, atol=1e-9)
    np.testing.assert_allclose(to_picture(to_crop(places, matrix), matrix), places, atol=1e-9)
    scale, turn = scale_and_turn(matrix)
    np.testing.assert_allclose(scale, 56 / SQUARES[:, 2])
    np.testing.assert_allclose(turn, np.stack([x_axis, y_axis], 1), atol=1e-12)


def test_a_sheared_crop_is_refused() -> None:
    with pytest.raises(ValueError, match="not shear or stretch"):
        scale_and_turn(np.diag([1.0, 1.2, 1.0])[None])


def test_the_same_size_is_the_same_bytes() -> None:
    square = NOISE[:, :, 5:53]
    matrix = crop_from_picture(np.array([[5 + 23.5, 23.5, 48]] * 2), 48)
    np.testing.assert_array_equal(resample(NOISE, matrix, 48), square)
    np.testing.assert_array_equal(resample(square, crop_from_picture(crop_squares((48, 48), BOXES, InputConfig(size=48)), 48), 48), square)


def test_a_quarter_turn_and_a_mirror_move_whole_pixels() -> None:
    square = NOISE[:, :, :48]
    turned = crop_from_picture(np.array([[23.5, 23.5, 48]] * 2), 48, turn_rad=np.pi / 2)
    np.testing.assert_array_equal(resample(square, turned, 48), np.rot90(square, -1, axes=(1, 2)))
    mirror = np.array([[-1.0, 0, 47], [0, 1, 0], [0, 0, 1]]) @ crop_from_picture(np.array([[23.5, 23.5, 48]] * 2), 48)
    np.testing.assert_array_equal(resample(square, mirror, 48), square[:, :, ::-1])


@pytest.mark.parametrize("shrink", [2, 3])
def test_a_whole_number_of_times_smaller_is_the_mean_of_the_area(shrink: int) -> None:
    """To half a level, and one pixel's part of it: Pillow divides by a product with a number a little too small."""
    matrix = crop_from_picture(np.array([[23.5, 23.5, 48]] * 2), 48 // shrink)
    means = NOISE[:, :, :48].reshape(2, 48 // shrink, shrink, 48 // shrink, shrink, 3).mean((2, 4))
    assert np.abs(resample(NOISE, matrix, 48 // shrink) - means).max() <= 0.5 + 1 / shrink**2


@pytest.mark.parametrize("size", [20, 31, 48, 90])
@pytest.mark.parametrize("turn_rad", [0.0, 0.4])
def test_a_ramp_is_resampled_at_the_places_that_the_map_gives(size: int, turn_rad: float) -> None:
    """Linear in x and y, so that averaging and interpolating leave it: rounding to levels alone, twice, is off by up to one."""
    matrix = crop_from_picture(np.array([[33.3, 22.6, 28.0]]), size, turn_rad=turn_rad)
    crop = resample(ramp(2, 1), matrix, size)[0, ..., 0]
    grid = np.stack(np.meshgrid(np.arange(size), np.arange(size)), -1).reshape(1, -1, 2).astype(float)
    x, y = to_picture(grid, matrix)[0].reshape(size, size, 2).transpose(2, 0, 1)
    assert np.abs(crop - (20 + 2 * x + y)).max() <= 1.01


def test_shrinking_does_not_alias() -> None:
    """Stripes of one pixel, brought to half and to a third, are grey."""
    stripes = np.zeros((1, 48, 48, 3), np.uint8)
    stripes[:, :, ::2] = 200
    for size, off in ((24, 0), (16, 34)):
        crop = resample(stripes, crop_from_picture(np.array([[23.5, 23.5, 48]]), size), size)
        assert np.abs(crop.astype(int) - 100).max() <= off


def test_beyond_the_picture_is_black_and_the_rest_is_where_it_was() -> None:
    matrix = crop_from_picture(np.array([[31.5, 23.5, 96], [-500, 0, 48]]), 96)
    crop = resample(NOISE, matrix, 96)
    np.testing.assert_array_equal(crop[0, 24:72, 16:80], NOISE[0])
    outside = np.ones((96, 96), bool)
    outside[24:72, 16:80] = False
    assert not crop[0][outside].any() and not crop[1].any()


def test_a_part_of_a_large_picture_is_that_part() -> None:
    """Only what crops show is looked at: the same bytes as from all of it cut out by hand."""
    large = RNG.integers(0, 256, (1, 300, 400, 3)).astype(np.uint8)
    for side, size in ((40.0, 40), (90.0, 30), (50.0, 64)):
        there = np.array([[220.25, 150.75, side]])
        cut = large[:, 72:240, 144:312]
        np.testing.assert_array_equal(resample(large, crop_from_picture(there, size), size), resample(cut, crop_from_picture(there - [[144, 72, 0]], size), size))


def test_a_mask_is_where_more_than_half_of_a_pixel_is() -> None:
    mask = np.zeros((1, 48, 48), bool)
    mask[0, 10:31, 7:30] = True
    same = crop_from_picture(np.array([[23.5, 23.5, 48]]), 48)
    np.testing.assert_array_equal(resample(mask, same, 48), mask)
    smaller = resample(mask, crop_from_picture(np.array([[23.5, 23.5, 48]]), 24), 24)
    np.testing.assert_array_equal(smaller, mask.reshape(1, 24, 2, 24, 2).mean((2, 4)) > 0.5)
