"""What the scripts of docs/pictures.md share: small picture files, and tables that go into the page between marks."""

import io
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Array = np.ndarray
DOCS = Path(__file__).parent
IMAGES, PAGE = DOCS / "images", DOCS / "pictures.md"
FIGURE_COLOURS, PHOTO_COLOURS = 128, 256
LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601, of sRGB levels


def save_picture(picture: Image.Image, name: str, colours: int = PHOTO_COLOURS) -> None:
    """In few colours, the best that k-means finds: a small file."""
    picture.convert("RGB").quantize(colours, kmeans=2, dither=Image.Dither.NONE).save(IMAGES / name, optimize=True)


def save_figure(figure: "Figure", name: str) -> None:
    """A drawing of matplotlib's."""
    stream = io.BytesIO()
    figure.savefig(stream, bbox_inches="tight", metadata={"Software": None})
    save_picture(Image.open(stream), name, FIGURE_COLOURS)


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A table in Markdown, its columns as wide as they must be."""
    cells = [list(head), *map(list, rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(cells[0]))]
    cells.insert(1, ["-" * width for width in widths])
    return "\n".join("| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in cells)


def fill(mark: str, text: str) -> None:
    """Puts `text` between <!-- mark --> and <!-- /mark --> of the page, in place of what is there."""
    first, last = f"<!-- {mark} -->\n", f"<!-- /{mark} -->"
    before, rest = PAGE.read_text().split(first)
    PAGE.write_text(before + first + text + "\n" + last + rest.split(last)[1])
