"""Reads the user's own MANO files (Romero, Tzionas, Black 2017; research licence, never shipped): `MANO_RIGHT.pkl`, `MANO_LEFT.pkl`, or `.npz` of the same keys.

The pickles are read by `mano_pickle.py`, which runs nothing of them; chumpy and smplx are not needed.

The release's left hand has a known defect: its `shapedirs` are the right hand's, although its template is mirrored in x, so that betas
pull its x the wrong way (smplx issue 48; InterHand2.6M, DexYCB and others negate x). Such a file is told by its right brother when that lies beside it,
else by itself: a hand that grows gets longer (x) as it gets broader (z). It is mended here, and `provenance` says so.
"""

import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float

from seqgen.errors import UserError
from seqgen.hand.layer import HandLayer
from seqgen.hand.mano_pickle import array_of, read_pickle
from seqgen.hand.mano_uv import with_uv
from seqgen.hand.model import HandModel, Side, hand_from_arrays, open_edge, rest_joints_m
from seqgen.skeleton import PALM_M, hand_frame
from seqgen.untrusted import Damaged, read_npz

Array = np.ndarray

VERTICES = 778
TIP_VERTICES = np.array([744, 320, 443, 554, 671])  # thumb to pinky, as in smplx (manopth: 745, 317, 444, 556, 673)
LAST_PARTS = (15, 3, 6, 12, 9)  # thumb to pinky, in MANO's order of joints
OTHERS = {6890: "SMPL or SMPL+H", 10475: "SMPL-X", 5023: "FLAME"}  # number of vertices of the models that people mistake for it
LICENCE = "MANO licence (research only): https://mano.is.tue.mpg.de/license.html"
MENDED = "; x of shapedirs negated, a known defect of the released left hand"
CLEAR_BEND_M = 0.004  # of a 95 mm palm
MAX_BYTES = 200_000_000  # MANO's files have 4 MB
PALM_RANGE_M = (0.05, 0.15)  # wrist to middle MCP of the template: what other units are told by
_KEYS = ("v_template", "shapedirs", "posedirs", "J_regressor", "weights", "f", "kintree_table", "hands_components", "hands_mean")


def read_mano(folder: Path, side: Side = "right") -> HandModel:
    """The hand of that side of the MANO files in that folder, with texture coordinates when their file lies there too (`mano_uv.py`).

    A UserError when it is not there or is not what its name says.
    """
    path = _find(folder, side)
    if path is None:
        name = f"MANO_{side.upper()}.pkl"
        raise UserError(f"no MANO files: register at https://mano.is.tue.mpg.de, then put {name} at {folder / name} or name its folder with hand.mano_dir")
    model = _read(path, side)
    _check_size(model, path)
    _check_side(model, path)
    if side == "left" and _shape_is_the_right_hand_s(model, _shape_of_right_hand(folder)):
        mended = model.shape_directions * np.array([-1, 1, 1], np.float32)[:, None]
        mended.setflags(write=False)
        model = replace(model, shape_directions=mended, provenance=model.provenance + MENDED)
    texture = folder / f"MANO_UV_{side}.obj"
    return with_uv(model, texture) if texture.is_file() else model


def _find(folder: Path, side: Side) -> Path | None:
    return next((path for ending in ("pkl", "npz") if (path := folder / f"MANO_{side.upper()}.{ending}").is_file()), None)


def _read(path: Path, side: Side) -> HandModel:
    arrays = _read_arrays(path)
    vertices = len(arrays["v_template"]) if "v_template" in arrays and arrays["v_template"].ndim else 0
    if vertices in OTHERS:
        raise UserError(f"{path}: is a model of {OTHERS[vertices]} ({vertices} vertices), not of MANO ({VERTICES})")
    missing = [key for key in _KEYS if key not in arrays]
    if missing:
        raise UserError(f"{path}: no MANO model, it lacks {', '.join(missing)}")
    try:
        with np.errstate(all="ignore"):  # numbers beyond float32 become infinite, and are refused as such
            return _hand(arrays, side)
    except (ValueError, IndexError, TypeError) as error:
        raise UserError(f"{path}: no MANO model: {error}") from None


def _read_arrays(path: Path) -> dict[str, Array]:
    """The arrays of the file under MANO's keys, as many of them as there are."""
    try:
        if path.stat().st_size > MAX_BYTES:
            raise UserError(f"{path}: has {path.stat().st_size // 10**6} MB, a file of MANO has 4")
        return _read_npz(path) if path.suffix == ".npz" else _read_pickle(path)
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror or error}") from None


def _read_pickle(path: Path) -> dict[str, Array]:
    content = read_pickle(path.read_bytes(), str(path))
    arrays = {}
    for key in filter(content.__contains__, _KEYS):
        try:
            arrays[key] = array_of(content[key])
        except (ValueError, TypeError, IndexError, MemoryError) as error:
            raise UserError(f"{path}: no MANO model: {key}: {error}") from None
    return arrays


def _read_npz(path: Path) -> dict[str, Array]:
    if not zipfile.is_zipfile(path):
        raise UserError(f"{path}: not a .npz archive, or cut short")
    try:
        return read_npz(path, _KEYS)
    except Damaged as error:
        raise UserError(f"{path}: not a readable .npz of plain arrays: {error}") from None


def _hand(arrays: dict[str, Array], side: Side) -> HandModel:
    """The record of MANO's arrays. These files have no texture coordinates; the open edge is found from the faces."""
    for key in _KEYS:
        if arrays[key].dtype.kind not in "biuf":
            raise ValueError(f"{key} holds {arrays[key].dtype}, no numbers")
    if arrays["f"].ndim != 2 or arrays["f"].shape[1] != 3:
        raise ValueError(f"f has shape {arrays['f'].shape}, expected (faces, 3)")
    faces = arrays["f"].astype(np.int32)
    values = {
        "name": np.array("mano"),
        "side": np.array(side),
        "licence": np.array(LICENCE),
        "provenance": np.array(f"MANO_{side.upper()}, Romero, Tzionas, Black: Embodied Hands, SIGGRAPH Asia 2017"),
        "template_m": arrays["v_template"],
        "shape_directions": arrays["shapedirs"][..., :10],
        "pose_directions": arrays["posedirs"],
        "joint_regressor": arrays["J_regressor"],
        "skinning_weights": arrays["weights"],
        "faces": faces,
        "tip_vertices": TIP_VERTICES if len(arrays["v_template"]) == VERTICES else _outermost(arrays),
        "pose_components": arrays["hands_components"],
        "pose_mean": arrays["hands_mean"],
        "uv": np.zeros((0, 2)),
        "uv_faces": np.zeros((0, 3)),
        "wrist_loop": open_edge(faces),
    }
    return hand_from_arrays(values, arrays["kintree_table"].astype(np.int64))


def _outermost(arrays: dict[str, Array]) -> Array:
    """Tips of a hand in MANO's schema that is another mesh: of each last part the vertex farthest from its joint."""
    vertices, owner = arrays["v_template"], arrays["weights"].argmax(1)
    away = np.linalg.norm(vertices[:, None] - (arrays["J_regressor"] @ vertices)[list(LAST_PARTS)], axis=-1)
    return np.where(owner[:, None] == LAST_PARTS, away, -1).argmax(0)


def _check_size(model: HandModel, path: Path) -> None:
    """A hand in another unit, or no hand at all, is refused."""
    joints = rest_joints_m(model).astype(float)
    palm_m = float(np.linalg.norm(joints[9] - joints[0]))
    if not PALM_RANGE_M[0] <= palm_m <= PALM_RANGE_M[1]:
        raise UserError(f"{path}: no MANO model: its palm measures {palm_m:.3g} m, expected about {PALM_M:g}; v_template is in metres")


def _check_side(model: HandModel, path: Path) -> None:
    """Fingers bend to the palm in MANO's mean pose, and the thumb lies before it: were it the other hand, both would be at the back."""
    pose = torch.cat([torch.zeros(3), torch.tensor(model.pose_mean)]).reshape(1, 16, 3)
    joints = HandLayer(model).joints(pose, torch.zeros(1, 10)).numpy().astype(float)
    with np.errstate(all="ignore"):  # no palm, no side
        behind = hand_frame(joints).normalise(joints)[0, :, 2] * (1 if model.side == "right" else -1)
    bend_m = max(behind[[7, 8, 11, 12, 15, 16, 19, 20]].mean(), behind[4], key=abs)
    if bend_m > CLEAR_BEND_M:
        other = "left" if model.side == "right" else "right"
        raise UserError(f"{path}: holds a {other} hand, expected a {model.side} one: its fingers bend {bend_m * 1e3:.0f} mm to the back of a {model.side} hand")


def _shape_of_right_hand(folder: Path) -> Array | None:
    """The shape directions of the right hand in the same folder, when it can be read."""
    path = _find(folder, "right")
    try:
        return _read(path, "right").shape_directions if path else None
    except UserError:
        return None


def _shape_is_the_right_hand_s(left: HandModel, right: Float[Array, "vertices 3 10"] | None) -> bool:
    """Whether the x of a left hand's shape directions points the way of a right hand's."""
    x = left.shape_directions[:, 0]
    if right is not None and right.shape == left.shape_directions.shape:
        return bool(np.abs(x - right[:, 0]).sum() < np.abs(x + right[:, 0]).sum())
    centred = left.template_m - left.template_m.mean(0)
    growth = np.einsum("va,vak->ak", centred, left.shape_directions) / (centred**2).sum(0)[:, None]
    return bool((growth[0] * growth[2]).sum() < 0)
