"""What a reader of annotations gives, before anything is checked or converted."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

Array = np.ndarray
LARGEST = 1e15  # a coordinate beyond is no coordinate; the square of one is still a number in single precision
CHUNK_ROWS = 100_000  # rows that are worked on at once, so that millions need no second and third copy


@dataclass(frozen=True)
class RawAnnotations:
    """What stands in a file: joints in its own order and unit, and what is known of it. `subject` is None where the file does not say.

    `metres_per_unit` is None where the source's scale means nothing: the median palm is then made 95 mm long.
    """

    joints: Float[Array, "rows 21 3"]
    metres_per_unit: float | None
    joint_set: str
    subject: Array | None
    licence: str
    copies_allowed: bool
    remarks: tuple[str, ...] = ()  # what the reader counted; the verdict repeats it
