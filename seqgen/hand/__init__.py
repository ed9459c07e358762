"""From joints to a surface. `load_hand` is the door to the hand models; importing it needs numpy alone."""

from pathlib import Path
from typing import Literal

from seqgen.errors import UserError
from seqgen.hand.model import HandModel, Side, mirrored, read_hand

HandKind = Literal["open", "mano"]
OPEN_HAND = Path(__file__).parent / "assets" / "open_hand.npz"
MANO_DIR = Path("mano_assets")  # where a checkout of the project keeps the user's own MANO files


def load_hand(kind: HandKind, *, side: Side = "right", mano_dir: Path | None = None) -> HandModel:
    """The hand of that kind: `open` comes with seqgen (CC0; its left hand is the right one mirrored), `mano` is read from the user's own files in `mano_dir`.

    Right is canonical here: data sets hold right hands and mirror the world for left ones. Left models are for other people's labels.
    """
    if side not in ("right", "left"):
        raise UserError(f"side is {side!r}, expected right or left")
    if kind == "open":
        return read_hand(OPEN_HAND) if side == "right" else mirrored(read_hand(OPEN_HAND))
    from seqgen.hand.mano import read_mano

    return read_mano(Path(mano_dir) if mano_dir is not None else MANO_DIR, side)
