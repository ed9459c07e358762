"""The published pose-flows, for those who reproduce or compare: as printed, and as the authors' script makes them. Neither moves like a hand (docs/motion.md).

    paper         Eq. 5-7 of SeqHAND (Yang et al., ECCV 2020) to the letter, on a bank that nobody writes to
    paper-script  what the authors' published script does in effect: it edits its pose database in place, so that each search finds the row it has just
                  written; no neighbour is ever taken, and the flow is plain exponential interpolation between the two poses

A hand starts at a random pose of the bank and is drawn to another by alpha/n of what is left, frame by frame. n is the length of the flow; alpha is 1.2 in the
script and "empirically chosen" in the paper. Speeds are what comes of it: the frames have no time between them.
"""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Int64

from seqgen.errors import UserError
from seqgen.poses.bank import PoseBank
from seqgen.poses.flow import PoseFlow
from seqgen.poses.search import PoseSearch, nearest_by_brute_force

Array = np.ndarray
SCRIPT_ALPHA = 1.2


@runtime_checkable
class PaperParameters(Protocol):
    """What a config must say: `kind` ("paper" or "paper-script"), `alpha`, and n as `steps` (None: as many as the clip has frames)."""

    @property
    def kind(self) -> str: ...
    @property
    def alpha(self) -> float: ...
    @property
    def steps(self) -> int | None: ...


@dataclass(frozen=True)
class PaperLaw:
    """PaperParameters by themselves."""

    kind: str = "paper"
    alpha: float = SCRIPT_ALPHA
    steps: int | None = None


def draw_paper_flow(bank: PoseBank, config: PaperParameters, *, frames: int, fps: float, rng: np.random.Generator, search: PoseSearch | None = None) -> PoseFlow:
    """A clip P_0 ... P_{frames-1}: every step of the recursion is a stored frame, and `fps` is only written down. With a `search` of the bank's rows, which is
    worth making once for many flows, the nearest pose is found without looking at all of them; it is the same pose."""
    update = update_share(config.alpha, config.steps or frames, where="flow")
    if config.kind not in ("paper", "paper-script"):
        raise ValueError(f"{config.kind}: paper.py draws paper and paper-script")
    start, end = draw_ends(bank, rng)
    if config.kind == "paper":
        source = snapped_rows(bank, start, end, update, frames, search)
        return _flow(bank.joints_m[source].astype(float), source, config.kind, start, end, fps)
    left = remaining(update, frames)
    first, last = bank.joints_m[start].astype(float), bank.joints_m[end].astype(float)
    joints = last + left[:, None, None] * (first - last)
    return _flow(joints, np.where(left >= 0.5, start, end).astype(np.int64), config.kind, start, end, fps)


def update_share(alpha: float, steps: int, *, where: str) -> float:
    """alpha/n of Eq. 6. A UserError when a step would not move, or would go past the end."""
    if not 0 < alpha <= steps:
        raise UserError(f"{where}.alpha: {alpha:g} with n = {steps} steps; expected 0 < alpha <= n, since each step goes alpha/n of the way that is left (the script has 1.2)")
    return alpha / steps


def draw_ends(bank: PoseBank, rng: np.random.Generator) -> tuple[int, int]:
    """P_initial and P_final: two different rows, every pair as likely."""
    if len(bank) < 2:
        raise UserError(f"{bank.name}: holds a single distinct pose; a flow goes from one to another")
    start, end = int(rng.integers(len(bank))), int(rng.integers(len(bank) - 1))
    return start, end + (end >= start)


def snapped_rows(bank: PoseBank, start: int, end: int, update: float, frames: int, search: PoseSearch | None = None) -> Int64[Array, "frames"]:
    """The rows of Eq. 5-7. P_k depends on P_{k-1} alone, so a flow that stays once stays for good, and the search ends."""
    rows = np.full(frames, start, np.int64)  # Eq. 5
    final = bank.joints_m[end].astype(float)
    for k in range(1, frames):
        previous = bank.joints_m[rows[k - 1]].astype(float)
        updated = previous - update * (previous - final)  # Eq. 6
        rows[k:] = search.nearest(updated[None])[0][0] if search else nearest_by_brute_force(bank.joints_m, updated)[0]  # Eq. 7
        if rows[k] == rows[k - 1]:
            break
    return rows


def remaining(update: float, frames: int) -> Float[Array, "frames"]:
    """The script's closed form, (1 - alpha/n)^k: the part of the way that is left at frame k. A flow of n frames covers 1 - (1 - alpha/n)^(n-1)."""
    return (1.0 - update) ** np.arange(frames)


def _flow(joints_m: Float[Array, "frames 21 3"], source: Int64[Array, "frames"], kind: str, start: int, end: int, fps: float) -> PoseFlow:
    return PoseFlow(joints_m, source, np.zeros(len(source), bool), kind, start, end, fps)
