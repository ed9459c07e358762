"""From joints to a surface. `load_hand` is the door to the hand models; importing it needs numpy alone."""

from pathlib import Path
from typing import Literal

from seqgen.hand.model import HandModel, read_hand

HandKind = Literal["open", "mano"]
OPEN_HAND = Path(__file__).parent / "assets" / "open_hand.npz"
MANO_DIR = Path("mano_assets")  # where a checkout of the project keeps the user's own MANO files


def load_hand(kind: HandKind, *, mano_dir: Path | None = None) -> HandModel:
    """The right hand of that kind: `open` comes with seqgen (CC0), `mano` is read from the user's own files in `mano_dir`."""
    if kind == "open":
        return read_hand(OPEN_HAND)
    from seqgen.hand.mano import read_mano

    return read_mano(Path(mano_dir) if mano_dir is not None else MANO_DIR)
