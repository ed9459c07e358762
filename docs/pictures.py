"""All of docs/pictures.md: `seqgen generate --sequences 2000 --labels.mask-amodal true --out outputs/pictures && python docs/pictures.py outputs/pictures`.

Draws contact sheets of that data set and of every shipped config, then what docs/diversity.py and docs/spectrum.py measure. Needs matplotlib
(`pip install -e ".[docs]"`) and three minutes; `python docs/pictures.py outputs/pictures sheets` draws the sheets alone.
"""

import sys
from pathlib import Path

import diversity
import numpy as np
import spectrum
from jaxtyping import Float32, UInt8
from page import save_picture
from PIL import Image, ImageDraw, ImageFont

from seqgen.config import build, overlay, read_toml, shipped_configs
from seqgen.dataset import HandSequence, open_dataset
from seqgen.dataset.preview import colour_depth, colour_parts, contact_sheet, draw_skeleton
from seqgen.pipeline.assets import gather_assets
from seqgen.pipeline.config import GenerateConfig
from seqgen.pipeline.generate import generate_sequence, open_sources
from seqgen.pipeline.process import one_thread

Array = np.ndarray
TILE, COLUMNS, ROWS = 96, 12, 4  # of the page of middle frames
SHEET_CLIPS, SHEET_TILE, GAP, HEAD = 4, 192, 3, 16
PAPER, INK = (14, 15, 18), (205, 210, 218)


def main() -> None:
    """The pictures of a data set, the presets, and the measurements."""
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "outputs/pictures")
    draw_clips(folder)
    for number, (name, path) in enumerate(shipped_configs().items()):
        save_picture(preset_sheet(path, seed=number), f"preset_{name}.png")
    if "sheets" not in sys.argv[2:]:
        diversity.report(folder)
        spectrum.report()


def draw_clips(folder: Path) -> None:
    """Six clips in full, and the middle frames of forty-eight."""
    clips = open_dataset(folder)
    save_picture(contact_sheet([clips[place] for place in range(6)], tile_width=112), "quickstart.png")
    page = Image.new("RGB", (COLUMNS * TILE, ROWS * TILE))
    for place in range(COLUMNS * ROWS):
        rgb = clips[place].rgb
        tile = Image.fromarray(rgb[len(rgb) // 2]).resize((TILE, TILE), Image.Resampling.LANCZOS)
        page.paste(tile, (place % COLUMNS * TILE, place // COLUMNS * TILE))
    save_picture(page, "quickstart_frames.png")


def preset_sheet(path: Path, *, seed: int) -> Image.Image:
    """The middle frames of a config's first clips, one clip a row. Each config has a seed of its own, or all would show the same people and photos."""
    config = build(GenerateConfig, overlay(read_toml(path), "seed", seed), where=str(path))
    with one_thread():
        sources = open_sources(gather_assets(config), config)
        pictures = [clip_row(generate_sequence(index, sources, config)) for index in range(SHEET_CLIPS)]
    width, height = config.clip.size
    tile = SHEET_TILE, round(SHEET_TILE * height / width)
    sheet = Image.new("RGB", (len(pictures[0]) * (tile[0] + GAP) - GAP, HEAD + SHEET_CLIPS * (tile[1] + GAP) - GAP), PAPER)
    for column, name in enumerate(pictures[0]):
        ImageDraw.Draw(sheet).text((column * (tile[0] + GAP) + 2, 1), name, fill=INK, font=ImageFont.load_default(12))
        for row, views in enumerate(pictures):
            shrink = Image.Resampling.LANCZOS if name in ("rgb", "overlay") else Image.Resampling.NEAREST
            sheet.paste(views[name].resize(tile, shrink), (column * (tile[0] + GAP), HEAD + row * (tile[1] + GAP)))
    return sheet


def clip_row(clip: HandSequence) -> dict[str, Image.Image]:
    """The middle frame of a clip in all its views. What the depth sensor sees has the colours of the clean depth's range."""
    frame, labels, rgb = len(clip.rgb) // 2, clip.labels, Image.fromarray(clip.rgb[len(clip.rgb) // 2])
    views = {"rgb": clip.rgb[frame], "depth": colour_depth(clip.depth_m[frame])}
    if clip.depth_sensor_tenth_mm is not None:
        clean, sensed = clip.depth_tenth_mm[frame], clip.depth_sensor_tenth_mm[frame]
        within = np.where(sensed > 0, np.clip(sensed, clean[clean > 0].min(), clean.max()), 0)
        views["depth, sensor"] = colour_depth(np.stack([clean, within]).astype(float))[1]
        views["sensor, close"] = close_by(views["depth, sensor"], labels.box_px[frame])
    views["parts"] = colour_parts(clip.parts[frame])
    overlay = draw_skeleton(rgb, labels.joints_px[frame], labels.joints_visible[frame], 1.0)
    return {name: Image.fromarray(view) for name, view in views.items()} | {"overlay": overlay}


def close_by(picture: UInt8[Array, "height width 3"], box_px: Float32[Array, "4"]) -> UInt8[Array, "close_height close_width 3"]:
    """A box and a little around it, in the shape of the picture."""
    size, sides = np.array(picture.shape[1::-1]), box_px[2:] - box_px[:2]
    shown = np.ceil(size * min(1.0, 1.25 * (sides / size).max())).astype(int)
    x, y = np.clip((box_px[:2] + box_px[2:] - shown) / 2, 0, size - shown).astype(int)
    return picture[y : y + shown[1], x : x + shown[0]]


if __name__ == "__main__":
    main()
