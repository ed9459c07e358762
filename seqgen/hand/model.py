"""Hand models of the MANO kind: a template, shape directions, skinning weights and a 16-joint tree, as plain read-only arrays.

The number of vertices and faces comes from the model. Written down here: the record, its checks, and its file; `layer.py` poses it.

The file is one `.npz` with MANO's own key names (Romero, Tzionas, Black 2017), no pickled objects, and what MANO keeps elsewhere:

    v_template (V,3)  shapedirs (V,3,10)  posedirs (V,3,135)  J_regressor (16,V)  weights (V,16)  kintree_table (2,16)  f (F,3)
    hands_components (45,45), a row each  hands_mean (45)      metres; axis-angle in the axes of the rest pose
    tip_vertices (5) thumb to pinky  wrist_loop (L)  vt (T,2) in [0,1], v upwards  ft (F,3)  name  side  licence  provenance
"""

import zipfile
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Float32, Int32

from seqgen.errors import UserError
from seqgen.files import written_aside
from seqgen.skeleton import CANONICAL_FROM_MANO, MANO_PARENTS

Array = np.ndarray
Side = Literal["right", "left"]


@dataclass(frozen=True)
class HandModel:
    """MANO's schema. Joints of the tree in MANO order (`seqgen.skeleton.MANO_PARENTS`); metres; `tip_vertices` thumb to pinky.

    `wrist_loop`: the vertices of the open edge at the wrist, in order, or empty. `uv` may be empty (0 rows).
    A pose from coefficients is `coefficients @ pose_components + pose_mean`; the pose the layer takes already has the mean in it.
    """

    name: str
    side: Side
    licence: str
    template_m: Float32[Array, "vertices 3"]
    shape_directions: Float32[Array, "vertices 3 10"]
    pose_directions: Float32[Array, "vertices 3 135"]
    joint_regressor: Float32[Array, "16 vertices"]
    skinning_weights: Float32[Array, "vertices 16"]
    faces: Int32[Array, "faces 3"]
    tip_vertices: Int32[Array, "5"]
    pose_components: Float32[Array, "45 45"]
    pose_mean: Float32[Array, "45"]
    uv: Float32[Array, "uvs 2"]
    uv_faces: Int32[Array, "uv_faces 3"]
    wrist_loop: Int32[Array, "loop"]
    provenance: str = ""  # where the numbers come from

    def to_smplx(self, *, num_pca_comps: int | None = None, flat_hand_mean: bool = True, batch_size: int = 1) -> Any:
        """This hand as a `smplx.MANO` layer, right or left, whatever its number of vertices. A UserError without smplx (`pip install "seqgen[mano]"`).

        It takes finger poses as axis-angle, or as `num_pca_comps` coefficients of `pose_components`; with `flat_hand_mean` both are relative to the
        template as everywhere here, else to `pose_mean`. Its joints are the tree's 16. The 21 in MANO order, with this hand's own tips, are
        `layer.vertex_joint_selector(output.vertices, output.joints)`; indexed by `seqgen.skeleton.CANONICAL_FROM_MANO` they are the canonical 21.
        """
        from seqgen.hand.smplx_export import smplx_layer

        return smplx_layer(self, num_pca_comps=num_pca_comps, flat_hand_mean=flat_hand_mean, batch_size=batch_size)


# Field of the record -> key of the file. The tree is the same in every model, so it is checked and not kept.
_KEYS = {
    "name": "name",
    "side": "side",
    "licence": "licence",
    "template_m": "v_template",
    "shape_directions": "shapedirs",
    "pose_directions": "posedirs",
    "joint_regressor": "J_regressor",
    "skinning_weights": "weights",
    "faces": "f",
    "tip_vertices": "tip_vertices",
    "pose_components": "hands_components",
    "pose_mean": "hands_mean",
    "uv": "vt",
    "uv_faces": "ft",
    "wrist_loop": "wrist_loop",
    "provenance": "provenance",
}
_TEXTS = ("name", "side", "licence", "provenance")
_WHOLE_NUMBERS = ("faces", "tip_vertices", "uv_faces", "wrist_loop")


def save_hand(model: HandModel, path: Path) -> None:
    """Write the model as one `.npz`, whole or not at all; the same model gives the same bytes (numpy dates every member 1980)."""
    arrays = {key: np.asarray(getattr(model, field)) for field, key in _KEYS.items()}
    arrays["kintree_table"] = np.array([MANO_PARENTS, range(16)], np.int32)
    with written_aside(path) as aside, open(aside, "wb") as file:  # a file, because a name would be given the ending .npz
        np.savez_compressed(file, **arrays)


def read_hand(path: Path) -> HandModel:
    """Read and check a model written by `save_hand`. A missing, foreign or damaged file is a `UserError`."""
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = dict(file)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise UserError(f"{path}: not a readable hand model (.npz of plain arrays): {error}") from error
    missing = sorted({*_KEYS.values(), "kintree_table"} - set(arrays))
    if missing:
        raise UserError(f"{path}: no hand model of the MANO schema, it lacks {', '.join(missing)}")
    try:
        return hand_from_arrays({field: arrays[key] for field, key in _KEYS.items()}, arrays["kintree_table"])
    except ValueError as error:
        raise UserError(f"{path}: {error}") from error


def hand_from_arrays(values: dict[str, Array], kintree: Array) -> HandModel:
    """The record of raw arrays under the record's field names: types set, checked (ValueError), read-only."""
    _check_shapes(values, kintree)
    parts: dict[str, Array | str] = {field: str(values[field]) for field in _TEXTS}
    for field in set(_KEYS) - set(_TEXTS):
        parts[field] = _read_only(values[field], np.int32 if field in _WHOLE_NUMBERS else np.float32)
    model = HandModel(**parts)
    _check_values(model)
    return model


def _read_only(array: Array, dtype: type) -> Array:
    """A copy of that type that nobody can write to."""
    copy = np.array(array, dtype=dtype, order="C")
    copy.setflags(write=False)
    return copy


def _check_shapes(values: dict[str, Array], kintree: Array) -> None:
    """Every array has the shape the schema says, given the number of vertices of the template."""
    vertices = len(values["template_m"])
    expected = {
        "template_m": (vertices, 3),
        "shape_directions": (vertices, 3, 10),
        "pose_directions": (vertices, 3, 135),
        "joint_regressor": (16, vertices),
        "skinning_weights": (vertices, 16),
        "faces": (len(values["faces"]), 3),
        "tip_vertices": (5,),
        "pose_components": (45, 45),
        "pose_mean": (45,),
        "uv": (len(values["uv"]), 2),
        "uv_faces": (len(values["uv_faces"]), 3),
        "wrist_loop": (values["wrist_loop"].size,),
    }
    for field, shape in expected.items():
        if values[field].shape != shape:
            raise ValueError(f"{_KEYS[field]} has shape {values[field].shape}, expected {shape}")
    if kintree.shape != (2, 16) or tuple(kintree[0, 1:].tolist()) != MANO_PARENTS[1:]:
        raise ValueError("kintree_table is not MANO's tree of 16 joints")
    if values["side"] not in ("right", "left"):
        raise ValueError(f"side is {values['side']}, expected right or left")


def _check_values(model: HandModel) -> None:
    """Numbers are finite, indices point at something, weights and regressor rows sum to one."""
    for field in fields(model):
        array = getattr(model, field.name)
        if isinstance(array, np.ndarray) and not np.isfinite(array).all():
            raise ValueError(f"{_KEYS[field.name]} holds numbers that are not finite")
    for field, count in (("faces", len(model.template_m)), ("tip_vertices", len(model.template_m)), ("wrist_loop", len(model.template_m)), ("uv_faces", len(model.uv))):
        indices = getattr(model, field)
        if indices.size and not (0 <= indices.min() and indices.max() < count):
            raise ValueError(f"{_KEYS[field]} points outside its {count} rows")
    if len(model.uv_faces) not in (0, len(model.faces)):
        raise ValueError(f"ft has {len(model.uv_faces)} faces, f has {len(model.faces)}")
    for field in ("skinning_weights", "joint_regressor"):
        off = float(np.abs(getattr(model, field).sum(1, dtype=float) - 1).max())
        if off > 1e-3:
            raise ValueError(f"rows of {_KEYS[field]} must sum to one, one is off by {off:.2g}")


def mirrored(model: HandModel) -> HandModel:
    """The other hand: what the model shows in a mirror across x = 0. It shows the mirrored surface when its rotations are those of the mirrored world (x, -y, -z)."""
    across = np.array([-1, 1, 1], np.float32)
    turned = np.tile(across * -1, 15)  # axis-angle vectors are turned the other way, and their x with them
    entries = np.tile(np.outer(across, across).ravel(), 15)  # rotation matrices get the mirror on both sides
    changed = {
        "template_m": model.template_m * across,
        "shape_directions": model.shape_directions * across[:, None],
        "pose_directions": model.pose_directions * across[:, None] * entries,
        "faces": model.faces[:, ::-1],
        "uv_faces": model.uv_faces[:, ::-1],
        "wrist_loop": np.roll(model.wrist_loop[::-1], 1),
        "pose_components": model.pose_components * turned,
        "pose_mean": model.pose_mean * turned,
    }
    arrays = {field: _read_only(array, array.dtype.type) for field, array in changed.items()}
    return replace(model, side="left" if model.side == "right" else "right", provenance=f"{model.provenance}; mirrored", **arrays)


def rest_joints_m(model: HandModel) -> Float32[Array, "21 3"]:
    """The canonical 21 joints of the mean shape at rest, in the model's axes."""
    joints = model.joint_regressor.astype(float) @ model.template_m.astype(float)
    return np.concatenate([joints, model.template_m[model.tip_vertices]])[list(CANONICAL_FROM_MANO)].astype(np.float32)


def open_edge(faces: Int32[Array, "faces 3"]) -> Int32[Array, "loop"]:
    """The vertices of a surface's one open edge, in the order in which its faces run along it (so a fan over the reverse closes it)."""
    edges = {(int(a), int(b)) for face in faces for a, b in zip(face, np.roll(face, -1), strict=True)}
    following = {a: b for a, b in edges if (b, a) not in edges}
    loop = [min(following)] if following else []
    while following and following.get(loop[-1], loop[0]) != loop[0] and len(loop) <= len(following):
        loop.append(following[loop[-1]])
    if len(loop) != len(following):
        raise ValueError(f"the surface has more than one open edge: {len(loop)} of {len(following)} open vertices in the first")
    return np.array(loop, np.int32)
