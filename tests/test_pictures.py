"""Decoding other people's pictures: upright, in colour, in eight bits; those with labels never turned."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from seqgen.benchmarks.pictures import read_mask, read_rgb, read_upright
from seqgen.errors import UserError
from seqgen.untrusted import ORIENTATION
from tests.pointer import save

Array = np.ndarray
PICTURE = np.random.default_rng(5).integers(0, 256, (5, 8, 3), dtype=np.uint8)
SEE_THROUGH = np.concatenate([PICTURE, np.where(np.arange(8) < 4, 255, 0).astype(np.uint8)[None, :, None].repeat(5, 0)], -1)


def held(orientation: int) -> dict[str, Any]:
    """Options of a picture whose camera was held that way."""
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    return {"exif": exif}


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize(
    ("stored", "shown"),
    [
        (PICTURE, PICTURE),
        (PICTURE[..., 0], PICTURE[..., [0, 0, 0]]),
        (PICTURE[..., 0].astype(np.uint16) * 257, PICTURE[..., [0, 0, 0]]),
        (SEE_THROUGH, np.where(np.arange(8)[:, None] < 4, PICTURE, 255)),
    ],
    ids=["colour", "grey", "16 bits", "see-through"],
)
def test_pictures_come_in_colour_and_eight_bits_with_labels_or_without(tmp_path: Path, suffix: str, stored: Array, shown: Array) -> None:
    path = save(tmp_path / f"a{suffix}", stored)
    np.testing.assert_array_equal(read_upright(path), shown)
    np.testing.assert_array_equal(read_rgb([path, path]), [shown, shown])


def test_a_turned_picture_comes_upright_but_not_with_labels(tmp_path: Path) -> None:
    """A quarter clockwise. Labels may be of the pixels as they are stored or as they are shown."""
    turned, upright = save(tmp_path / "turned.png", PICTURE, **held(6)), save(tmp_path / "upright.png", PICTURE, **held(1))
    np.testing.assert_array_equal(read_upright(turned), np.rot90(PICTURE, -1))
    np.testing.assert_array_equal(read_rgb([upright])[0], PICTURE)
    with pytest.raises(UserError, match=r"turned\.png: its EXIF says to turn it"):
        read_rgb([upright, turned])
    with pytest.raises(UserError, match=r"turned\.png: its EXIF says to turn it"):
        read_mask(turned, above=127, size=(8, 5))


def test_masks_of_other_depths_and_with_transparency(tmp_path: Path) -> None:
    """What is see-through is no hand, whatever its colour."""
    grey = PICTURE[..., 0]
    np.testing.assert_array_equal(read_mask(save(tmp_path / "deep.png", grey.astype(np.uint16) * 257), above=127, size=(8, 5)), grey > 127)
    white = SEE_THROUGH.copy()
    white[..., :3] = 255
    np.testing.assert_array_equal(read_mask(save(tmp_path / "alpha.png", white), above=127, size=(8, 5)), np.broadcast_to(np.arange(8) < 4, (5, 8)))
