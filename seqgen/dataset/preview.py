"""Data to look at: contact sheets and moving pictures of sequences. PIL only.

    caption: key, split, viewpoint, side, skin, arm, occluder, speed
    colour with the skeleton     frame 0   ...   frame T-1      a joint is a disc where it is seen and a ring where it is hidden
    depth, near is warm          frame 0   ...   frame T-1      the range is the sequence's own
    parts                        frame 0   ...   frame T-1      a finger has its skeleton's colour, darker towards the palm
    the sensor's depth, normals, optical flow: those that the data set has; the hue of flow is its direction, its strength that of the fastest hundredth
"""

import io
from collections.abc import Iterable, Sequence

import numpy as np
from jaxtyping import Bool, Float, Float32, UInt8
from PIL import Image, ImageDraw, ImageFont

from seqgen.dataset.conventions import MANO_FINGERS
from seqgen.dataset.sequence import HandSequence
from seqgen.joint_targets import TARGETS, JointSetName
from seqgen.skeleton import PART_ARM, PART_OCCLUDER, PART_PALM

Array = np.ndarray

FINGER_COLOURS = {"thumb": (255, 92, 87), "index": (255, 184, 51), "middle": (92, 214, 92), "ring": (61, 170, 255), "pinky": (190, 120, 255)}
WRIST_COLOUR, PALM_COLOUR, ARM_COLOUR, OCCLUDER_COLOUR = (240, 240, 240), (222, 205, 184), (128, 118, 110), (86, 100, 124)
NOTHING_COLOUR, PAPER_COLOUR, INK_COLOUR = (24, 26, 30), (14, 15, 18), (205, 210, 218)
# From far to near: dark blue over green to dark red, evenly spaced.
DEPTH_COLOURS = ((48, 18, 99), (66, 92, 214), (48, 155, 249), (27, 208, 205), (70, 241, 138), (164, 252, 60), (226, 220, 56), (253, 161, 48), (240, 91, 18), (170, 22, 3))
GAP, CAPTION_HEIGHT, SMOOTHING = 4, 24, 3
GIF_ROWS = 3  # of a sheet: colour, depth and parts
MAX_SIDE = 2000  # pixels of a tile's height, and of a GIF's sides
SHORTEST_MS, LONGEST_MS, MAX_STILL_MS = 20, 5000, 600_000  # a GIF counts to 655 s, and Pillow adds up frames that do not differ


def contact_sheet(sequences: Iterable[HandSequence], *, columns: int = 6, tile_width: int = 192) -> Image.Image:
    """All sequences below each other, `columns` frames of each (its first, its last and evenly between), pictures scaled to `tile_width` or less."""
    blocks = [_block(sequence, columns, _fitting_width([sequence], tile_width, MAX_SIDE)) for sequence in sequences]
    return _stack([_stack(rows, GAP, across=False) for rows in blocks], 3 * GAP, across=False, border=2 * GAP)


def animated_gif(sequences: Sequence[HandSequence], *, tile_width: int = 160) -> bytes:
    """An endless GIF, at the clips' own speed: one row a sequence with colour and skeleton, depth, and parts. Shorter clips start again.

    Tiles are narrower than `tile_width` where the rows would not fit in MAX_SIDE; a frame is shown for SHORTEST_MS to LONGEST_MS.
    """
    gaps = (GAP + 1) * (len(sequences) + 1)  # and a pixel a row for rounding
    tile_width = min(_fitting_width(sequences, tile_width, MAX_SIDE - gaps), (MAX_SIDE - (GIF_ROWS + 1) * GAP) // GIF_ROWS)
    clips = [list(zip(*_tiles(sequence, range(len(sequence.rgb)), tile_width)[:GIF_ROWS], strict=True)) for sequence in sequences]
    frames = [
        _stack([_stack(clip[number % len(clip)], GAP, across=True) for clip in clips], GAP, across=False, border=GAP)
        for number in range(max(map(len, clips)))
    ]
    duration_ms = round(np.clip(1000 / sequences[0].meta["fps"], SHORTEST_MS, max(SHORTEST_MS, min(LONGEST_MS, MAX_STILL_MS // len(frames)))))
    stream = io.BytesIO()
    frames[0].save(stream, "GIF", save_all=True, append_images=frames[1:], duration=duration_ms, loop=0)
    return stream.getvalue()


def draw_skeleton(
    picture: Image.Image, joints_px: Float[Array, "joints 2"], visible: Bool[Array, "joints"], scale: float, joints: JointSetName = "canonical"
) -> Image.Image:
    """`picture`, which shows the frame `scale` times as large, with the joints of a set over it. Drawn large and shrunk, for smooth lines."""
    targets = TARGETS[joints]
    big = (picture.width * SMOOTHING, picture.height * SMOOTHING)
    places = ((joints_px + 0.5) * scale * SMOOTHING).tolist()  # pixel centres are at integers, PIL's corners are
    radius = max(2.0, picture.width / 64) * SMOOTHING
    overlay = Image.new("RGBA", big)
    draw = ImageDraw.Draw(overlay)
    for parent, joint in targets.bones:
        draw.line([*places[parent], *places[joint]], fill=_joint_colour(targets.names[joint]), width=round(radius * 0.7))
    for joint, (x, y) in enumerate(places):
        box, colour = [x - radius, y - radius, x + radius, y + radius], _joint_colour(targets.names[joint])
        draw.ellipse(box, fill=colour if visible[joint] else (0, 0, 0, 0), outline=colour, width=round(radius * 0.4))
    return Image.alpha_composite(picture.convert("RGBA"), overlay.resize(picture.size, Image.Resampling.BOX)).convert("RGB")


def colour_depth(depth: Float[Array, "*frames height width"]) -> UInt8[Array, "*frames height width 3"]:
    """Near is warm, nothing (0) is dark. The range is that of all pixels given, without the outermost hundredth."""
    seen = depth > 0
    near, far = np.percentile(depth[seen], [1, 99]) if seen.any() else (0.0, 1.0)
    nearness = np.clip((far - depth) / max(far - near, 1e-9), 0, 1) * (len(DEPTH_COLOURS) - 1)
    below = np.minimum(nearness.astype(int), len(DEPTH_COLOURS) - 2)
    table, part = np.array(DEPTH_COLOURS, float), (nearness - below)[..., None]
    return np.where(seen[..., None], (1 - part) * table[below] + part * table[below + 1], NOTHING_COLOUR).round().astype(np.uint8)


def colour_parts(parts: UInt8[Array, "*frames height width"]) -> UInt8[Array, "*frames height width 3"]:
    """Each part in its colour."""
    return _part_table()[parts]


def colour_flow(flow_px: Float32[Array, "*frames height width 2"]) -> UInt8[Array, "*frames height width 3"]:
    """The hue is the direction (red: to the right, further ones clockwise), the saturation the speed against the fastest hundredth; white stands still."""
    speed = np.linalg.norm(flow_px, axis=-1)
    turn = np.arctan2(flow_px[..., 1], flow_px[..., 0]) / (2 * np.pi)
    off = np.abs((turn[..., None] + np.array([3, 1, -1]) / 6) % 1 - 0.5)  # turns from the hue to red, green, blue
    strength = np.clip(speed / max(float(np.percentile(speed, 99)), 1e-9), 0, 1)[..., None]
    return ((1 - strength * (1 - np.clip(2 - 6 * off, 0, 1))) * 255).round().astype(np.uint8)


def _part_table() -> UInt8[Array, "256 3"]:
    """Label -> colour; magenta for a label that the legend does not know."""
    table = np.tile(np.array((255, 0, 255), np.uint8), (256, 1))
    table[0], table[PART_PALM], table[PART_ARM], table[PART_OCCLUDER] = NOTHING_COLOUR, PALM_COLOUR, ARM_COLOUR, OCCLUDER_COLOUR
    for number, finger in enumerate(MANO_FINGERS):
        for segment, shade in enumerate((0.55, 0.78, 1.0)):
            table[PART_PALM + 1 + 3 * number + segment] = np.array(FINGER_COLOURS[finger]) * shade
    return table


def _joint_colour(name: str) -> tuple[int, int, int]:
    return FINGER_COLOURS.get(name.partition("_")[0], WRIST_COLOUR)


def _block(sequence: HandSequence, columns: int, tile_width: int) -> list[Image.Image]:
    """The caption and the rows of a sequence."""
    frames = np.unique(np.linspace(0, len(sequence.rgb) - 1, columns).round().astype(int)).tolist()
    rows = [_stack(tiles, GAP, across=True) for tiles in _tiles(sequence, frames, tile_width)]
    return [_caption(_describe(sequence, frames), rows[0].width), *rows]


def _fitting_width(sequences: Sequence[HandSequence], tile_width: int, height: int) -> int:
    """`tile_width`, or what is left of it when the tiles below each other have to fit in `height`."""
    across_one = sum(sequence.meta["size"][1] / sequence.meta["size"][0] for sequence in sequences)  # their height for a tile one pixel wide
    return max(1, min(tile_width, int(height / across_one)))


def _tiles(sequence: HandSequence, frames: Iterable[int], tile_width: int) -> list[list[Image.Image]]:
    """The rows of the frames: colour with skeleton, depth, parts, and what else there is. Labels are never blended with their neighbours."""
    frames = list(frames)
    width, height = sequence.meta["size"]
    size = (tile_width, max(1, round(tile_width * height / width)))
    colour = [Image.fromarray(sequence.rgb[frame]).resize(size, Image.Resampling.LANCZOS) for frame in frames]
    labels, scale = sequence.labels, tile_width / width
    overlaid = [draw_skeleton(picture, labels.joints_px[frame], labels.joints_visible[frame], scale) for picture, frame in zip(colour, frames, strict=True)]
    return [overlaid, *([Image.fromarray(picture).resize(size, Image.Resampling.NEAREST) for picture in pictures] for pictures in _label_rows(sequence, frames))]


def _label_rows(sequence: HandSequence, frames: list[int]) -> list[UInt8[Array, "shown height width 3"]]:
    """Depth, parts, and the optional pictures that there are, in colours."""
    rows = [colour_depth(sequence.depth_m[frames]), colour_parts(sequence.parts[frames])]
    if sequence.depth_sensor_tenth_mm is not None:
        rows.append(colour_depth(sequence.depth_sensor_tenth_mm[frames].astype(np.float32)))
    if sequence.normals is not None:
        rows.append(sequence.normals[frames])
    if sequence.flow_px is not None:
        rows.append(colour_flow(sequence.flow_px[frames]))
    return rows


def _describe(sequence: HandSequence, frames: list[int]) -> str:
    meta = sequence.meta
    shown = f"frames {', '.join(map(str, frames))} of {meta['frames']}"
    kind = (sequence.key, sequence.split, meta["camera"]["viewpoint"], meta["hand"]["side"], meta["skin"]["tone"])
    beside = [f"{name} {meta[name]['kind']}" for name in ("arm", "occluder") if meta[name]["kind"] != "none"]
    return "   ".join((*kind, *beside, f"{meta['flow']['mm_per_frame']:.1f} mm/frame", shown))


def _caption(text: str, width: int) -> Image.Image:
    """A line of text, as large as fits."""
    picture = Image.new("RGB", (width, CAPTION_HEIGHT), PAPER_COLOUR)
    font = ImageFont.load_default(14)
    while font.getlength(text) > width and font.size > 7:
        font = ImageFont.load_default(font.size - 1)
    ImageDraw.Draw(picture).text((0, CAPTION_HEIGHT - GAP), text, fill=INK_COLOUR, font=font, anchor="ls")
    return picture


def _stack(pictures: Sequence[Image.Image], gap: int, *, across: bool, border: int = 0) -> Image.Image:
    """Pictures beside or below each other."""
    lengths, breadth = [p.width if across else p.height for p in pictures], max(p.height if across else p.width for p in pictures)
    length = sum(lengths) + gap * (len(pictures) - 1)
    sheet = Image.new("RGB", tuple(side + 2 * border for side in ((length, breadth) if across else (breadth, length))), PAPER_COLOUR)
    place = border
    for picture, step in zip(pictures, lengths, strict=True):
        sheet.paste(picture, (place, border) if across else (border, place))
        place += step + gap
    return sheet
