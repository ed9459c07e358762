"""Says in one line where an array of a clip is farthest from what it should be, and in how many places it is."""

import numpy as np
from jaxtyping import Bool, Float

from seqgen.skeleton import JOINT_NAMES

Array = np.ndarray
Places = tuple[Array, ...]  # as `np.nonzero` gives them
FRAME, JOINT, PIXEL = ("frame",), ("frame", "joint"), ("frame", "row", "column")


def contradiction(
    what: str, off: Float[Array, "*places"], tolerance: float, axes: tuple[str, ...], because: str, *, scale: float = 1.0, unit: str = "", at: Places | None = None
) -> list[str]:
    """A line on where `off` is largest, or none where all of it is at most `tolerance`; what is no number is too far off.

    `axes` are the names of the axes of `off`, or of the places `at` which it is given; one called "joint" is told by the joint's name. The amount is told times
    `scale`, in `unit`.
    """
    bad = ~(off <= tolerance)
    if not bad.any():
        return []
    worst = np.unravel_index(np.where(np.isnan(off), np.inf, off).argmax(), off.shape)
    amount = f"{off[worst] * scale:.4g} {unit}".rstrip()
    return [f"{what}, {place(worst, axes, at)}: off by {amount} from {because}{others(bad)}"]


def disagreement(what: str, bad: Bool[Array, "*places"], axes: tuple[str, ...], found: Array, because: str) -> list[str]:
    """A line on the first place where `bad` is true, with what is `found` there, or none."""
    if not bad.any():
        return []
    first = np.unravel_index(bad.argmax(), bad.shape)
    return [f"{what}, {place(first, axes)}: {found[first]}, {because}{others(bad)}"]


def place(numbers: tuple, axes: tuple[str, ...], at: Places | None = None) -> str:
    """A place in words."""
    numbers = numbers if at is None else tuple(index[numbers[0]] for index in at)
    return ", ".join(f"{axis} {JOINT_NAMES[number] if axis == 'joint' else number}" for axis, number in zip(axes, numbers, strict=True))


def others(bad: Bool[Array, "*places"]) -> str:
    """How many places are bad, where it is not one alone."""
    found = np.count_nonzero(bad)
    return f" ({found} such)" if found > 1 else ""
