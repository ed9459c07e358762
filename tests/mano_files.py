"""Files in the format of MANO's, with a made-up hand in them: 778 vertices, 1,538 faces and 16 open edges as there, but no number of MANO's."""

import io
import pickle
import sys
import types
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import ClassVar

import numpy as np
from scipy import sparse

from seqgen.hand import load_hand
from seqgen.hand.anatomy import joint_axes, pose_from_angles
from seqgen.hand.mano import TIP_VERTICES
from seqgen.skeleton import MANO_PARENTS

Array = np.ndarray
ACROSS = np.array([-1.0, 1, 1])
TURNED = np.tile(-ACROSS, 15)
ENTRIES = np.tile(np.outer(ACROSS, ACROSS).ravel(), 15)


@lru_cache
def mano_arrays() -> dict[str, Array]:
    """A right hand under MANO's keys: points of the open hand's surface, other directions, regressors with negative entries. Do not change it."""
    hand, rng = load_hand("open"), np.random.default_rng(0)
    chosen = rng.permutation(np.setdiff1d(np.arange(len(hand.template_m)), hand.tip_vertices))[:778]
    chosen[TIP_VERTICES] = hand.tip_vertices
    template = hand.template_m[chosen].astype(float)
    shapes = hand.shape_directions[chosen] + rng.normal(0, 1e-4, (778, 3, 10))
    joints = hand.joint_regressor.astype(float) @ hand.template_m
    flexed = np.zeros((1, 16, 3))
    flexed[:, 1:, 1] = 0.4
    return {
        "v_template": template,
        "shapedirs": shapes,
        "posedirs": rng.normal(0, 1e-3, (778, 3, 135)),
        "J_regressor": _regressor(template, joints, rng),
        "weights": hand.skinning_weights[chosen].astype(float) / hand.skinning_weights[chosen].sum(1, dtype=float, keepdims=True),
        "f": _disc().astype(np.uint32),
        "kintree_table": np.array([[2**32 - 1, *MANO_PARENTS[1:]], range(16)], np.uint32),
        "hands_components": np.linalg.qr(rng.normal(size=(45, 45)))[0],
        "hands_mean": pose_from_angles(joint_axes(hand), flexed)[0, 1:].ravel().astype(float),
        "J": joints,
        "hands_coeffs": rng.normal(size=(7, 45)),
        "bs_style": "lbs",
        "bs_type": "lrotmin",
        "some_number": np.float64(3),
    }


def left_arrays(*, defect: bool = False) -> dict[str, Array]:
    """The mirrored hand; with the defect of the release, its shape directions are the right hand's."""
    right = mano_arrays()
    return {
        **right,
        "v_template": right["v_template"] * ACROSS,
        "shapedirs": right["shapedirs"] * (1 if defect else ACROSS[:, None]),
        "posedirs": right["posedirs"] * ACROSS[:, None] * ENTRIES,
        "f": right["f"][:, ::-1],
        "hands_components": right["hands_components"] * TURNED,
        "hands_mean": right["hands_mean"] * TURNED,
        "J": right["J"] * ACROSS,
    }


def _regressor(template: Array, joints: Array, rng: np.random.Generator) -> Array:
    """Each joint from twelve vertices around it; the weights sum to one and some are negative."""
    rows = np.zeros((16, len(template)))
    for row, joint in zip(rows, joints, strict=True):
        near = np.argsort(np.linalg.norm(template - joint, axis=1))[:40:3][:12]
        equations = np.vstack([template[near].T * 100, np.ones(12)])
        guess = rng.dirichlet(np.ones(12))
        row[near] = guess + np.linalg.pinv(equations) @ (np.append(joint * 100, 1) - equations @ guess)
    assert (rows < -1e-3).any()
    return rows


def _disc() -> Array:
    """48 rings of 16 vertices, one inside the other, and ten in a line within the innermost: the vertices, faces and open edge of MANO's surface."""
    rings = np.arange(768).reshape(48, 16)
    line = list(range(768, 778))
    ways = [*map(list, rings), [*line, *line[8:0:-1]]]
    return np.array([face for outer, inner in pairwise(ways) for face in _strip(outer, inner)])


def _strip(outer: list[int], inner: list[int]) -> Iterator[tuple[int, int, int]]:
    """Triangles between two closed ways, one within the other."""
    i = j = 0
    while i < len(outer) or j < len(inner):
        a, b = outer[i % len(outer)], inner[j % len(inner)]
        if i * len(inner) <= j * len(outer) and i < len(outer):
            i += 1
            yield a, outer[i % len(outer)], b
        else:
            j += 1
            yield a, inner[j % len(inner)], b


@contextmanager
def chumpy_modules() -> Iterator[types.ModuleType]:
    """Modules under chumpy's names, for as long as a file of its objects is written."""
    chumpy = types.ModuleType("chumpy")
    modules = {"chumpy": chumpy, "chumpy.ch": types.ModuleType("chumpy.ch"), "chumpy.reordering": types.ModuleType("chumpy.reordering")}
    chumpy.Ch = modules["chumpy.ch"].Ch = type("Ch", (), {"__module__": "chumpy.ch"})
    chumpy.Select = modules["chumpy.reordering"].Select = type("Select", (), {"__module__": "chumpy.reordering"})
    sys.modules.update(modules)
    try:
        yield chumpy
    finally:
        for name in modules:
            del sys.modules[name]


class Python2Pickler(pickle._Pickler):
    """Writes text and bytes as Python 2 did, as strings of bytes. For protocols 0 to 2."""

    dispatch: ClassVar = dict(pickle._Pickler.dispatch)

    def save_string(self, value: str | bytes) -> None:
        raw = value if isinstance(value, bytes) else value.encode("latin1")
        self.write(b"S" + repr(raw)[1:].encode() + b"\n" if self.proto == 0 else b"T" + len(raw).to_bytes(4, "little") + raw)
        self.memoize(value)

    dispatch[str] = dispatch[bytes] = save_string


def mano_pickle(arrays: dict[str, Array], protocol: int = 2, *, python2: bool = True) -> bytes:
    """As the official files: `shapedirs` a chumpy Select of a Ch, `J_regressor` a scipy.sparse matrix, names of numpy and scipy as of 2017."""
    with chumpy_modules() as chumpy:
        inner, shapes = chumpy.Ch(), chumpy.Select()
        private = {"_dirty_vars": {"x"}, "_itr": None, "_depends_on_deps": {"r": {"deps": {"a", "x"}, "value": None, "out_of_date": True}}, "_make_dense": False}
        shapedirs = arrays["shapedirs"]
        inner.__dict__.update(private, x=np.concatenate([shapedirs.ravel(), np.zeros(7)]))
        shapes.__dict__.update(private, a=inner, idxs=np.arange(shapedirs.size), preferred_shape=shapedirs.shape)
        content = {**arrays, "shapedirs": shapes, "J_regressor": sparse.csc_matrix(arrays["J_regressor"])}
        file = io.BytesIO()
        (Python2Pickler if python2 else pickle._Pickler)(file, protocol).dump(content)
    data = file.getvalue()
    if protocol <= 2 and python2:
        for now, then in ((b"cnumpy._core.", b"cnumpy.core."), (b"cscipy.sparse._csc\n", b"cscipy.sparse.csc\n")):
            data = data.replace(now, then)
    return data


def write_mano(folder: Path, *, side: str = "right", defect: bool = False) -> Path:
    """MANO_RIGHT.pkl or MANO_LEFT.pkl in that folder."""
    path = folder / f"MANO_{side.upper()}.pkl"
    path.write_bytes(mano_pickle(mano_arrays() if side == "right" else left_arrays(defect=defect)))
    return path


def uv_of_corners(side: str = "right") -> Array:
    """Made-up texture coordinates (1538, 3, 2) of the corners of that hand's faces: a seam, across which a vertex has others, runs down the rings."""
    faces = (mano_arrays() if side == "right" else left_arrays())["f"].astype(int)
    along = np.where((np.ptp(faces % 16, axis=1) > 8)[:, None] & (faces % 16 < 8), 16, 0) + faces % 16
    return np.stack([along / 32, faces / 1024], -1)


def write_mano_uv(folder: Path, *, side: str = "right", corner: str = "{v}/{vt}", back: bool = False) -> Path:
    """MANO_UV_right.obj or MANO_UV_left.obj in that folder, its faces in another order than the model's and begun at other corners; `back` counts from the end."""
    arrays, rng = mano_arrays() if side == "right" else left_arrays(), np.random.default_rng(1)
    uv, rows = np.unique(uv_of_corners(side).reshape(-1, 2), axis=0, return_inverse=True)
    lines = ["# made up", "mtllib none.mtl", "", *(f"v {x} {y} {z}" for x, y, z in arrays["v_template"]), *(f"vt {u} {v}" for u, v in uv), "vn 0 0 1", "s off"]
    for place in rng.permutation(len(arrays["f"])):
        turn = rng.integers(3)
        corners = zip(np.roll(arrays["f"][place].astype(int), turn), np.roll(rows.reshape(-1, 3)[place], turn), strict=True)
        lines.append("f " + " ".join(corner.format(v=v - 778 if back else v + 1, vt=vt - len(uv) if back else vt + 1) for v, vt in corners))
    path = folder / f"MANO_UV_{side}.obj"
    path.write_text("\n".join(lines) + "\n")
    return path
