"""What can be asked of a hand's skin, and what is worn in the end."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float32
from pydantic import Field

from seqgen.config import Section
from seqgen.scene.scene import Material

Array = np.ndarray
REFLECTANCE = 0.028  # of skin, whose refractive index is 1.4
MELT_M, MELT_FINE_M = 0.045, 0.006  # how far up the arm the colours of the wrist reach, and their detail


class SkinConfig(Section):
    kind: Literal["drawn", "flat"] = "drawn"
    """drawn: painted in every detail; flat: one colour a hand, without gloss"""
    folder: str | None = None
    """your own skins instead: a folder of OBJ files with a colour per vertex of the hand in use, or of pictures for its texture coordinates"""
    texture: int = Field(256, ge=64, le=1024)
    """pixels along each side of a painted hand's texture; 256 serves pictures of up to 256 pixels, 512 larger ones"""
    varnish: float = Field(0.12, ge=0, le=1)
    """share of painted hands with varnished nails"""


@dataclass(frozen=True)
class Skin:
    """What hand and forearm of one clip wear. `arm`: u runs around the wrist's loop, v up the arm (`arm/arm.py`, TEXTURE_M).

    `colours` are linear. `name` is that of the user's file, or the kind of skin; `ita_deg` the individual typology angle of the back of the hand.
    """

    hand: Material
    arm: Material
    colours: Float32[Array, "vertices 3"]
    name: str
    ita_deg: float
