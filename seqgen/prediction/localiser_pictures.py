"""Pictures that teach and test the localiser: hands of a seqgen data set at any size and place, and pictures without a hand.

A clip's frame is scaled until the hand has the share asked for, shifted, and cut to a view of any shape; where it does not reach, a part of another clip
without its hand shows (arms may be there). Colours, blur and noise change after that. Squares of 128 px with grey beside the view, as `letterbox` makes them.
Does not know: the network, files other than data sets.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float32, Float64, Int64, Real, UInt8
from PIL import Image, ImageFilter

from seqgen.dataset import HandSequence
from seqgen.prediction.localise import GREY, INPUT_PX

Array = np.ndarray

HAND_SHARE = (0.08, 0.9)  # longer edge of the hand's box over the shorter side of the view
LEAST_SHOWN = 0.6  # share of the box that the view shows
LEAST_SEEN = 0.35  # share of the hand's box that is seen in the clip, else the frame teaches nothing
SECOND_HAND = "hand"  # an occluder that is a hand: two right answers


@dataclass(frozen=True)
class Frames:
    """Stored frames with the hand's box (of all of it, cut to the picture; corner-based: pixel i spans i to i + 1) and the largest rectangle beside the hand."""

    rgb: UInt8[Array, "frames height width 3"]
    box: Float32[Array, "frames 4"]
    beside: Int64[Array, "frames 4"]


@dataclass(frozen=True)
class Placed:
    """Pictures for the network: `box` in pixels of the square, counted from its corner; zeros where there is no hand."""

    pixels: UInt8[Array, "batch 128 128 3"]
    box: Float32[Array, "batch 4"]

    @property
    def has_hand(self) -> Bool[Array, "batch"]:
        """Whether there is a hand."""
        return self.box.any(1)


def gather_frames(sequences: Iterable[HandSequence]) -> Frames:
    """All frames that show enough of one hand."""
    kept = [(rgb, box, beside) for sequence in sequences if sequence.meta["occluder"]["kind"] != SECOND_HAND for rgb, box, beside in _usable(sequence)]
    rgb, box, beside = zip(*kept, strict=True)
    return Frames(np.stack(rgb), np.stack(box).astype(np.float32), np.stack(beside))


def _usable(sequence: HandSequence) -> list[tuple[Array, Array, Array]]:
    width, height = sequence.meta["size"]
    size = np.array([width, height, width, height])
    whole, seen = (np.clip(box + 0.5, 0, size) for box in (sequence.labels.box_px, sequence.labels.box_visible_px))
    enough = _area(seen) >= LEAST_SEEN * _area(sequence.labels.box_px)
    return [(sequence.rgb[frame], whole[frame], _largest_beside(whole[frame], width, height)) for frame in np.flatnonzero(enough)]


def _area(boxes: Real[Array, "*batch 4"]) -> Real[Array, "*batch"] | np.number:
    return np.prod(boxes[..., 2:] - boxes[..., :2], -1)


def _largest_beside(box: Float[Array, "4"], width: int, height: int) -> Int64[Array, "4"]:
    """The largest of the four rectangles beside a box, two pixels away from it."""
    x0, y0, x1, y1 = np.clip(box + np.array([-2, -2, 2, 2]), 0, [width, height, width, height]).astype(int)
    sides = np.array([[0, 0, x0, height], [x1, 0, width, height], [0, 0, width, y0], [0, y1, width, height]])
    return sides[_area(sides).argmax()]


def place_hands(frames: Frames, rng: np.random.Generator, *, num: int, without_hand: float = 0.2) -> Placed:
    """`num` pictures of frames drawn at random, a share of them `without_hand`."""
    pixels, boxes = zip(*(_picture(frames, rng, hand=rng.random() >= without_hand) for _ in range(num)), strict=True)
    return Placed(np.stack(pixels), np.stack(boxes).astype(np.float32))


def _picture(frames: Frames, rng: np.random.Generator, *, hand: bool) -> tuple[Array, Array]:
    """One square and its box."""
    aspect = np.exp(rng.uniform(-0.6, 0.6))  # 9:16 to 16:9
    width, height = round(INPUT_PX * min(1, aspect)), round(INPUT_PX * min(1, 1 / aspect))
    view, box = _background(frames, rng, (width, height)), np.zeros(4)
    if hand:
        view, box = _with_hand(frames, rng, view)
    if rng.random() < 0.5:
        view = view.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        box = np.array([width - box[2], box[1], width - box[0], box[3]]) * hand
    left, top = (INPUT_PX - width) // 2, (INPUT_PX - height) // 2
    pixels = np.full((INPUT_PX, INPUT_PX, 3), GREY, np.uint8)
    pixels[top : top + height, left : left + width] = recolour(view, rng)
    return pixels, (box + np.array([left, top, left, top])) * hand


def _background(frames: Frames, rng: np.random.Generator, size: tuple[int, int]) -> Image.Image:
    """A view without a hand: one part of a clip, and often another one laid over it, so that a seam says nothing of a hand."""
    view = _part_beside(frames, rng).resize(size, Image.Resampling.BILINEAR)
    if rng.random() < 0.5:
        over = _part_beside(frames, rng)
        across = [max(2, round(side * rng.uniform(0.2, 1))) for side in size]
        view.paste(over.resize((across[0], across[1]), Image.Resampling.BILINEAR), tuple(int(rng.integers(1 - small, side)) for small, side in zip(across, size, strict=True)))
    return view


def _part_beside(frames: Frames, rng: np.random.Generator) -> Image.Image:
    """Some of the largest rectangle beside the hand of a frame."""
    while True:
        number = rng.integers(len(frames.rgb))
        x0, y0, x1, y1 = frames.beside[number]
        if min(x1 - x0, y1 - y0) >= 24:
            break
    keep = rng.uniform(0.5, 1, 2) * [x1 - x0, y1 - y0]
    x, y = rng.uniform([x0, y0], [x1, y1] - keep).astype(int)
    part = Image.fromarray(frames.rgb[number, y : y + int(keep[1]), x : x + int(keep[0])])
    return part.transpose(Image.Transpose(int(rng.integers(7)))) if rng.random() < 0.7 else part


def _with_hand(frames: Frames, rng: np.random.Generator, view: Image.Image) -> tuple[Image.Image, Float64[Array, "4"]]:
    """A frame laid over a view, and the hand's box cut to it."""
    size = np.array(view.size)
    wanted_px = size.min() * rng.uniform(*np.sqrt(HAND_SHARE)) ** 2  # more large ones than small ones
    number = _draw_frame(frames, rng, wanted_px, size)
    rgb, box = frames.rgb[number], frames.box[number].astype(float)
    scale = wanted_px / (box[2:] - box[:2]).max()
    place = _draw_place(rng, box * scale, size, scale * np.array(rgb.shape[1::-1]))
    shown = _overlap(np.concatenate([place, place + scale * np.array(rgb.shape[1::-1])]), size).round().astype(int)
    source = np.clip((shown - np.tile(place, 2)) / scale, 0, np.tile(rgb.shape[1::-1], 2))
    if min(shown[2:] - shown[:2]) < 1 or min(source[2:] - source[:2]) < 1:
        return view, np.zeros(4)
    patch = Image.fromarray(rgb).resize(tuple((shown[2:] - shown[:2]).tolist()), Image.Resampling.BILINEAR, box=tuple(source.tolist()))
    view.paste(patch, (int(shown[0]), int(shown[1])))
    return view, _overlap(box * scale + np.tile(place, 2), size)


def _draw_frame(frames: Frames, rng: np.random.Generator, wanted_px: float, size: Int64[Array, "2"]) -> int:
    """A frame; mostly one whose hand is so small in it that the frame fills the view when the hand is as large as wanted."""
    several = rng.integers(len(frames.rgb), size=16)
    boxes, frame = frames.box[several], np.array(frames.rgb.shape[2:0:-1])
    filling = several[(wanted_px / (boxes[:, 2:] - boxes[:, :2]).max(1, keepdims=True) * frame >= size).all(1)]
    return int(filling[0] if len(filling) and rng.random() < 0.8 else several[0])


def _draw_place(rng: np.random.Generator, box: Float64[Array, "4"], size: Int64[Array, "2"], frame: Float64[Array, "2"]) -> Float64[Array, "2"]:
    """Where the frame's corner is put: the hand anywhere as long as enough of it is shown, and mostly so that the frame fills the view if it can."""
    fill = rng.random() < 0.8
    for _ in range(20):
        place = rng.uniform(0, size) - (box[:2] + box[2:]) / 2
        if fill:
            place = np.where(frame >= size, np.clip(place, size - frame, 0), place)
        if _area(_overlap(box + np.tile(place, 2), size)) >= LEAST_SHOWN * _area(box):
            return place
    return size / 2 - (box[:2] + box[2:]) / 2


def _overlap(box: Float64[Array, "4"], size: Int64[Array, "2"]) -> Float64[Array, "4"]:
    return np.clip(box, 0, np.tile(size, 2))


def recolour(view: Image.Image, rng: np.random.Generator) -> UInt8[Array, "height width 3"]:
    """Other light, colours, sharpness and noise; places stay."""
    view = Image.blend(view.convert("L").convert("RGB"), view, 0.0 if rng.random() < 0.08 else rng.uniform(0.5, 1.5))
    if rng.random() < 0.25:
        view = view.filter(ImageFilter.BoxBlur(rng.uniform(0.3, 2.0)))
    gains, contrast, brightness, gamma = np.exp(rng.normal(0, 0.1, 3)), rng.uniform(0.6, 1.35), rng.normal(0, 0.1), np.exp(rng.normal(0, 0.25))
    curve = np.clip((np.arange(256)[:, None] / 255 * gains - 0.5) * contrast + 0.5 + brightness, 0, 1) ** gamma
    colours = view.point((255 * curve + 0.5).astype(np.uint8).T.ravel().tolist())
    pixels = np.asarray(colours)
    if rng.random() < 0.5:
        noise = rng.standard_normal(pixels.shape, np.float32) * np.float32(rng.exponential(4.0))
        pixels = np.clip(pixels + noise + np.float32(0.5), 0, 255).astype(np.uint8)
    return pixels
