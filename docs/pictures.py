"""Draws the pictures of docs/pictures.md from a data set of `seqgen generate`.

    python docs/pictures.py [outputs/quickstart]
"""

import sys
from pathlib import Path

from PIL import Image

from seqgen.dataset import open_dataset
from seqgen.dataset.preview import contact_sheet

IMAGES = Path(__file__).parent / "images"
TILE, COLUMNS, ROWS = 96, 12, 4


def main() -> None:
    """Six clips in full, and the middle frames of forty-eight."""
    clips = open_dataset(Path(sys.argv[1] if len(sys.argv) > 1 else "outputs/quickstart"))
    save(contact_sheet([clips[place] for place in range(6)], tile_width=112), "quickstart.png")
    page = Image.new("RGB", (COLUMNS * TILE, ROWS * TILE))
    for place in range(COLUMNS * ROWS):
        rgb = clips[place].rgb
        tile = Image.fromarray(rgb[len(rgb) // 2]).resize((TILE, TILE), Image.Resampling.LANCZOS)
        page.paste(tile, (place % COLUMNS * TILE, place // COLUMNS * TILE))
    save(page, "quickstart_frames.png")


def save(picture: Image.Image, name: str) -> None:
    """In 256 colours: a small file."""
    picture.convert("RGB").quantize(256, dither=Image.Dither.NONE).save(IMAGES / name, optimize=True)


if __name__ == "__main__":
    main()
