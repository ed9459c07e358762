"""Reads the user's own MANO files (Romero, Tzionas, Black 2017; research licence, never shipped): `MANO_RIGHT.pkl`, or an `.npz` of the same keys.

The official file is a Python 2 pickle that names numpy, scipy.sparse and chumpy objects. A pickle can name any code, so this reader knows
those few names, gives them bodies of its own that only hold data, and refuses every other. chumpy and smplx are not needed.
"""

import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from seqgen.errors import UserError
from seqgen.hand.model import HandModel, hand_from_arrays, open_edge

Array = np.ndarray

TIP_VERTICES = np.array([744, 320, 443, 554, 671])  # thumb to pinky, as in smplx (manopth: 745, 317, 444, 556, 673)
NAMES = ("MANO_RIGHT.pkl", "MANO_RIGHT.npz")
_KEYS = ("v_template", "shapedirs", "posedirs", "J_regressor", "weights", "f", "kintree_table", "hands_components", "hands_mean")


def read_mano(folder: Path) -> HandModel:
    """The right hand of the MANO files in that folder."""
    path = next((folder / name for name in NAMES if (folder / name).is_file()), None)
    if path is None:
        raise UserError(f"no MANO files: register at https://mano.is.tue.mpg.de, then put MANO_RIGHT.pkl at {folder / NAMES[0]} or name its folder with hand.mano_dir")
    data = _read_arrays(path)
    missing = [key for key in _KEYS if key not in data]
    if missing:
        raise UserError(f"{path}: no MANO model, it lacks {', '.join(missing)}")
    try:
        return _hand(data)
    except (ValueError, TypeError, IndexError, KeyError, AttributeError) as error:
        raise UserError(f"{path}: no MANO model: {error}") from error


def _hand(data: dict[str, Any]) -> HandModel:
    """The record of MANO's arrays. MANO has no texture coordinates; its open edge is found from the faces."""
    arrays = {key: _plain(data[key]) for key in _KEYS}
    faces = arrays["f"].astype(np.int32)
    values = {
        "name": np.array("mano"),
        "side": np.array("right"),
        "licence": np.array("MANO licence (research only): https://mano.is.tue.mpg.de/license.html"),
        "provenance": np.array("MANO_RIGHT, Romero, Tzionas, Black: Embodied Hands, SIGGRAPH Asia 2017"),
        "template_m": arrays["v_template"],
        "shape_directions": arrays["shapedirs"][..., :10],
        "pose_directions": arrays["posedirs"],
        "joint_regressor": arrays["J_regressor"],
        "skinning_weights": arrays["weights"],
        "faces": faces,
        "tip_vertices": TIP_VERTICES,
        "pose_components": arrays["hands_components"],
        "pose_mean": arrays["hands_mean"],
        "uv": np.zeros((0, 2)),
        "uv_faces": np.zeros((0, 3)),
        "wrist_loop": open_edge(faces),
    }
    return hand_from_arrays(values, arrays["kintree_table"].astype(np.int64))


def _read_arrays(path: Path) -> dict[str, Any]:
    """The file's dictionary, with stand-ins for what is no plain array."""
    try:
        if path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as file:
                return dict(file)
        with open(path, "rb") as file:
            data = _DataUnpickler(file, encoding="latin1").load()
    except (OSError, ValueError, EOFError, IndexError, KeyError, TypeError, AttributeError, pickle.UnpicklingError, zipfile.BadZipFile) as error:
        raise UserError(f"{path}: not a readable MANO file: {error}") from error
    if not isinstance(data, dict):
        raise UserError(f"{path}: not a MANO file, it holds a {type(data).__name__}")
    return data


class _Stand:
    """Body of a foreign class: keeps the attributes that the pickle gives, runs nothing."""


class _Sparse(_Stand):
    """scipy.sparse matrices by columns (csc) or rows (csr)."""

    by_columns = True


class _SparseRows(_Sparse):
    by_columns = False


def _reconstructor(kind: type, base: type, state: object) -> object:
    """Python 2's `copy_reg._reconstructor`, for the stand-ins alone."""
    if not (isinstance(kind, type) and issubclass(kind, _Stand)):
        raise pickle.UnpicklingError(f"refused to build {kind!r}")
    return kind()


# numpy's own makers of arrays and numbers, wherever this numpy keeps them
_NUMPY = {"ndarray": np.ndarray, "dtype": np.dtype, "_reconstruct": np.zeros(1).__reduce__()[0], "scalar": np.float64(0).__reduce__()[0]}


class _DataUnpickler(pickle.Unpickler):
    """Knows arrays, sparse matrices and chumpy's holders of arrays; refuses every other name."""

    def find_class(self, module: str, name: str) -> Any:
        package = module.split(".")[0]
        if package == "numpy" and name in _NUMPY:
            return _NUMPY[name]
        if package == "scipy" and name in ("csc_matrix", "csr_matrix"):
            return _Sparse if name == "csc_matrix" else _SparseRows
        if package == "chumpy":
            return _Stand
        if (module, name) in (("copy_reg", "_reconstructor"), ("copyreg", "_reconstructor")):
            return _reconstructor
        if module in ("__builtin__", "builtins") and name == "object":
            return object
        if (module, name) == ("_codecs", "encode"):  # how newer Pythons write the bytes of an array for older pickles
            return lambda text, encoding: text.encode("latin1")
        raise pickle.UnpicklingError(f"refused to load {module}.{name}")


def _plain(value: Any) -> Array:
    """The array that a value of the file stands for."""
    if isinstance(value, np.ndarray):
        return value
    kept = vars(value)
    if isinstance(value, _Sparse):
        return _dense(kept, value.by_columns)
    if "x" in kept:  # chumpy.Ch: an array
        return _plain(kept["x"])
    if {"a", "idxs", "preferred_shape"} <= set(kept):  # chumpy's Select: some numbers of another, in another shape
        return _plain(kept["a"]).ravel()[np.asarray(kept["idxs"])].reshape(kept["preferred_shape"])
    raise ValueError(f"an object in it is no array, it has {sorted(kept)}")


def _dense(kept: dict[str, Any], by_columns: bool) -> Array:
    """The dense matrix of a compressed one."""
    shape = kept.get("_shape", kept.get("shape"))
    lines = np.repeat(np.arange(len(kept["indptr"]) - 1), np.diff(kept["indptr"]))
    dense = np.zeros(shape)
    dense[(kept["indices"], lines) if by_columns else (lines, kept["indices"])] = kept["data"]
    return dense
