"""Users' own skins: OBJ files with a colour for each vertex of the hand in use (`v x y z r g b`), as the authors of SeqHAND use, or else pictures for the
hand's texture coordinates. Their colours are sRGB, 0..1 or 0..255. The forearm goes on from what they have at the wrist. Splits share no file.
"""

import logging
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from jaxtyping import Float, Float32, UInt8

from seqgen.errors import UserError
from seqgen.hand.model import HandModel
from seqgen.scene.arm.arm import TEXTURE_M
from seqgen.scene.scene import Material, plain_material
from seqgen.scene.skin.amounts import ROUGHNESS
from seqgen.scene.skin.record import MELT_M, REFLECTANCE, Skin, SkinConfig
from seqgen.scene.skin.sites import ARM_COLUMNS, ARM_ROWS
from seqgen.scene.skin.skin_map import SkinMap
from seqgen.scene.skin.tone import ita_from_rgb, levels_from_linear, linear_from_levels
from seqgen.splits import SPLITS, SplitConfig, SplitName, held_apart
from seqgen.untrusted import Damaged, converted
from seqgen.untrusted import read_picture as decoded

Array = np.ndarray
PICTURES = {".jpg", ".jpeg", ".png"}
MAX_PICTURE_PX = 2048
MAX_LINE = 4096  # characters

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class SkinRef:
    """A skin that can be read when needed: its name in the folder, its file, and the file's size."""

    name: str
    place: str
    bytes: int


def list_skins(config: SkinConfig, model: HandModel, split: SplitConfig) -> dict[SplitName, list[SkinRef]]:
    """The user's skins for each split in use, none without a folder. A UserError when one does not fit the hand or cannot be read, or there is none."""
    if config.folder is None:
        return {name: [] for name in SPLITS if split.counts()[name] > 0}
    root = Path(config.folder)
    if not root.is_dir():
        raise UserError(f"skin.folder {root}: no such folder")
    files = sorted(path for path in root.rglob("*") if path.is_file())
    templates = [path for path in files if path.suffix.lower() == ".obj"]
    pictures = [] if templates else [path for path in files if path.suffix.lower() in PICTURES]
    if not templates and not pictures:
        raise UserError(f"skin.folder {root}: holds no vertex-coloured .obj and no picture ({', '.join(sorted(PICTURES))})")
    for path in templates:
        _check_template(path, model)
    for path in pictures:
        _check_picture(path, model)
    return held_apart([SkinRef(path.relative_to(root).as_posix(), str(path), path.stat().st_size) for path in templates or pictures], split, what="skins")


def own_skin(ref: SkinRef, where: SkinMap) -> Skin:
    """The hand in that skin, with an arm to match."""
    if ref.place.lower().endswith(".obj"):
        colours = read_template(ref.place)
        at_loop = colours[where.wrist_loop]
        rim = _around(at_loop) if len(at_loop) else colours.mean(0, keepdims=True)
        white = plain_material(roughness=int(ROUGHNESS), reflectance=REFLECTANCE)
        return Skin(white, _arm(rim), colours, ref.name, ita_from_rgb(colours.mean(0)))
    material = read_picture(ref.place)
    whole = linear_from_levels(_looked_up(material.albedo, where.corner_uv.mean(1).astype(float)))
    rim = linear_from_levels(_looked_up(material.albedo, where.rim_uv)) if len(where.rim_uv) else whole.mean(0, keepdims=True)
    return Skin(material, _arm(rim), np.ones((where.vertices, 3), np.float32), ref.name, ita_from_rgb(whole.mean(0)))


@lru_cache(maxsize=32)
def read_template(place: str) -> Float32[Array, "vertices 3"]:
    """The linear vertex colours of an OBJ file, read-only. A UserError when it has none or cannot be read."""
    encoded = np.array(_vertex_colours(Path(place)), float).reshape(-1, 3)
    if not len(encoded):
        raise UserError(f"skin.folder {place}: its vertices have no colours; write them as `v x y z r g b`")
    colours = linear_from_levels(encoded if encoded.max() > 1 else encoded * 255).astype(np.float32)
    colours.flags.writeable = False
    return colours


def _vertex_colours(path: Path) -> list[list[float]]:
    """The three numbers behind the place of each vertex, from 0 to 255. UserErrors name the line."""
    colours = []
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            for number, line in enumerate(iter(lambda: file.readline(MAX_LINE), ""), 1):
                if line.startswith("v "):
                    colours.append(_colour(line, f"skin.folder {path}, line {number}"))
    except OSError as error:
        raise UserError(f"skin.folder {path}: cannot be read ({error.strerror}); remove it") from None
    return colours


def _colour(line: str, where: str) -> list[float]:
    words = line.split()[4:7]
    try:
        colour = [float(word) for word in words]
    except ValueError:
        raise UserError(f"{where}: {line.strip()[:60]!a} cannot be read as a vertex; write `v x y z r g b`, or remove the file") from None
    if len(colour) != 3:
        raise UserError(f"{where}: its vertices have no colours; write them as `v x y z r g b`")
    if not all(0 <= level <= 255 for level in colour):
        raise UserError(f"{where}: has a colour outside 0..1 and 0..255; mend it or remove the file")
    return colour


@lru_cache(maxsize=16)
def read_picture(place: str) -> Material:
    """A picture as a material with the gloss of skin; at most 2,048 pixels wide or high. A UserError when it cannot be decoded."""
    try:
        picture = converted(decoded(Path(place)).image, "RGB")
    except (OSError, Damaged) as error:
        raise UserError(f"skin.folder {place}: picture cannot be decoded ({error}); remove it") from None
    picture.thumbnail((MAX_PICTURE_PX, MAX_PICTURE_PX))
    albedo = np.array(picture)
    return Material(albedo, np.full(albedo.shape[:2], ROUGHNESS, np.uint8), np.zeros(albedo.shape[:2], np.float32), REFLECTANCE)


def _check_template(path: Path, model: HandModel) -> None:
    coloured, vertices = len(read_template(str(path))), len(model.template_m)
    if coloured != vertices:
        raise UserError(f"skin.folder {path}: has {coloured:,} coloured vertices, the hand in use ({model.name}) has {vertices:,}; give templates of that hand or set hand.kind")


def _check_picture(path: Path, model: HandModel) -> None:
    if not len(model.uv_faces):
        remedy = "give .obj files with vertex colours instead, or for MANO put MANO_UV_right.obj beside MANO's files"
        raise UserError(f"skin.folder {path}: the hand in use ({model.name}) has no texture coordinates for a picture; {remedy}")
    read_picture(str(path))


def _around(loop: Float32[Array, "loop 3"]) -> Float[Array, "columns 3"]:
    """Linear colours at the loop's vertices, for the columns of the arm's texture."""
    place, share = np.divmod((np.arange(ARM_COLUMNS) + 0.5) / ARM_COLUMNS * len(loop), 1.0)
    here = place.astype(int)
    return loop[here] + share[:, None] * (loop[(here + 1) % len(loop)] - loop[here])


def _arm(rim: Float[Array, "columns 3"]) -> Material:
    """An arm of the rim's linear colours, which melt into their mean."""
    up_m = np.arange(ARM_ROWS)[::-1, None, None] / ARM_ROWS * TEXTURE_M
    mean = rim.mean(0)
    colours = np.broadcast_to(mean + np.exp(-((up_m / MELT_M) ** 2)) * (rim - mean), (ARM_ROWS, ARM_COLUMNS, 3))
    albedo = levels_from_linear(colours).round().astype(np.uint8)
    return Material(albedo, np.full((ARM_ROWS, ARM_COLUMNS), ROUGHNESS, np.uint8), np.zeros((ARM_ROWS, ARM_COLUMNS), np.float32), REFLECTANCE)


def _looked_up(picture: UInt8[Array, "height width 3"], uv: Float[Array, "points 2"]) -> Float[Array, "points 3"]:
    """What bilinear lookup finds, in levels."""
    height, width = picture.shape[:2]
    column, row = uv[:, 0] * width - 0.5, (1.0 - uv[:, 1]) * height - 0.5
    left, top = np.floor(column).astype(int), np.floor(row).astype(int)
    x, y = (column - left)[:, None], (row - top)[:, None]
    corners = [[picture[(top + down) % height, (left + right) % width].astype(float) for right in (0, 1)] for down in (0, 1)]
    upper, lower = (pair[0] * (1 - x) + pair[1] * x for pair in corners)
    return upper * (1 - y) + lower * y
