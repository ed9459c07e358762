"""What a hand can do. This is the door to pose banks: the built-in one, or a file of annotations in a named format."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np

from seqgen.files import cache_folder, cached_arrays, file_digest
from seqgen.poses.bank import Annotations, PoseBank, PosesConfig, build_bank
from seqgen.poses.formats import read_annotations
from seqgen.poses.synthesis import synthesise_poses

BUILT_IN_SEED = 0


def load_bank(path: str | Path, format_name: str, *, side: str = "right") -> PoseBank:
    """The bank of an annotation file. A UserError when the file is not what it is said to be."""
    return build_bank(read_annotations(Path(path), format_name, side=side)[0])


def load_built_in_bank(num_rows: int) -> PoseBank:
    """The built-in bank: the same rows for everyone, made once and kept in the cache under the hash of the code that makes them."""
    code = "".join(file_digest(Path(__file__).parent / name) for name in ("synthesis.py", "hand_shapes.py"))
    folder = cache_folder() / f"built-in-bank-{hashlib.sha256(code.encode()).hexdigest()[:16]}-{num_rows}"

    def synthesise() -> dict[str, np.ndarray]:
        poses = synthesise_poses(num_rows, seed=BUILT_IN_SEED)
        return {"joints_m": poses.joints_m, "subject": poses.subject}

    arrays = cached_arrays(folder, ("joints_m", "subject"), synthesise)
    return build_bank(Annotations("built-in", "CC0-1.0", True, arrays["joints_m"], np.array(arrays["subject"])))


def load_bank_of(config: PosesConfig, say: Callable[[str], None]) -> PoseBank:
    """The bank a config names; what the checks of a file found is said."""
    if config.bank == "built-in":
        return load_built_in_bank(config.rows)
    annotations, verdict = read_annotations(Path(config.bank), config.format, side=config.side)
    say(verdict)
    return build_bank(annotations)
