"""MANO's texture coordinates. Its pickles have none; they are published beside them, an OBJ file for each hand: `MANO_UV_right.obj`, `MANO_UV_left.obj`.

Rows `vt u v` with u to the right and v up, and the model's faces as `f v/vt v/vt v/vt`; what else is in the file does not matter here.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
from jaxtyping import Int32

from seqgen.errors import UserError
from seqgen.hand.model import HandModel

Array = np.ndarray
Corners = tuple[int, int, int]
Face = tuple[int, Corners, Corners]  # line of the file; vertices; rows of vt

MAX_CHARACTERS = 10_000_000
REMEDY = "put the file of https://mano.is.tue.mpg.de there, or remove it to do without texture coordinates"


def with_uv(model: HandModel, path: Path) -> HandModel:
    """The model with that file's texture coordinates, in whatever order its faces come and at whichever corner they begin. A UserError when they are not the model's."""
    uv, faces = _read(path)
    arrays = {"uv": np.array(uv, np.float32).reshape(-1, 2), "uv_faces": _matched(path, faces, model.faces, len(uv))}
    for array in arrays.values():
        array.setflags(write=False)
    return replace(model, provenance=f"{model.provenance}; texture coordinates of {path.name}", **arrays)


def _read(path: Path) -> tuple[list[tuple[float, float]], list[Face]]:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            text = file.read(MAX_CHARACTERS + 1)
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror or error}") from None
    if len(text) > MAX_CHARACTERS:
        raise UserError(f"{path}: has more than {MAX_CHARACTERS // 10**6} MB, the texture coordinates of a hand have 0.1; {REMEDY}")
    vertices, uv, faces = 0, [], []
    for number, line in enumerate(text.split("\n"), 1):
        kind, *words = line.split() or [""]
        try:
            if kind == "v":
                vertices += 1
            elif kind == "vt":
                uv.append(_coordinates(words))
            elif kind == "f":
                faces.append((number, *_corners(words, vertices, len(uv))))
        except ValueError:
            expected = "`vt u v` with u and v from 0 to 1" if kind == "vt" else "a triangle with texture coordinates, `f v/vt v/vt v/vt`"
            raise UserError(f"{path}, line {number}: expected {expected}, not {line.strip()[:40]!r}; {REMEDY}") from None
    return uv, faces


def _coordinates(words: list[str]) -> tuple[float, float]:
    u, v = map(float, words[:2])  # a third is the depth in a solid texture
    if not (0 <= u <= 1 and 0 <= v <= 1):
        raise ValueError
    return u, v


def _corners(words: list[str], vertices: int, rows: int) -> tuple[Corners, Corners]:
    """Indices from 0 of what OBJ counts from 1, or with negative numbers back from the rows so far. What is 0 there points nowhere: -1."""
    indices = [[int(index) for index in word.split("/")[:2]] for word in words]
    (a, s), (b, t), (c, u) = ([i - 1 if i >= 0 else count + i for i, count in zip(corner, (vertices, rows), strict=True)] for corner in indices)
    return (a, b, c), (s, t, u)


def _matched(path: Path, faces: list[Face], model_faces: Int32[Array, "faces 3"], rows: int) -> Int32[Array, "faces 3"]:
    """The rows of vt at the corners of the model's faces."""
    places = {(*face[turn:], *face[:turn]): (place, turn) for place, face in enumerate(model_faces.tolist()) for turn in range(3)}
    matched = np.full(model_faces.shape, -1, np.int32)
    for number, vertices, corners in faces:
        if vertices not in places:
            raise UserError(f"{path}, line {number}: this face is none of the model's; {REMEDY}")
        if not all(0 <= corner < rows for corner in corners):
            raise UserError(f"{path}, line {number}: this face points outside the file's {rows:,} rows of vt; {REMEDY}")
        place, turn = places[vertices]
        matched[place] = np.roll(corners, turn)
    missing = int((matched[:, 0] < 0).sum())
    if missing or len(faces) != len(matched):
        raise UserError(f"{path}: has {len(faces):,} faces with texture coordinates, expected the model's {len(matched):,}, of which {missing:,} are missing; {REMEDY}")
    return matched
