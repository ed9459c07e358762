"""Our data sets as clips to teach with: any clip at once, and of it only the frames and files that are asked for (`seqgen.dataset.Dataset` reads all).

A member costs its decoding: of a frame of 112 px, rgb takes 0.08 ms, parts 0.05, depth 0.09.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from jaxtyping import Float32

from seqgen.dataset import Dataset
from seqgen.dataset.clip import LabelledClip, PictureKind
from seqgen.dataset.encoding import FRAME_MEMBERS, decode_labels, decode_meta, decode_pictures
from seqgen.dataset.meta import sequence_key
from seqgen.dataset.sequence import HandSequence, is_hand
from seqgen.dataset.shards import first_members, read_members, shard_spans
from seqgen.errors import UserError
from seqgen.places import Place
from seqgen.skeleton import PART_OCCLUDER

Array = np.ndarray

MEMBERS = {"rgb": "rgb.jpg", "mask": "parts.png", "depth": "depth.png", "depth_sensor": "depth_sensor.png"}
NAMES = {"rgb": "RGB", "mask": "part labels", "depth": "depth", "depth_sensor": "sensor depth"}
REMEDIES = {"depth_sensor": "generate it with a depth camera, --sensor.depth sr300 for example"}
ARRAYS = ("joints_m", "joints_px", "pose", "betas", "intrinsics", "box_px")
FLESH = 0.07  # of the longer edge of the joints' box: what a hand's box has beyond it on each side (0.066 on average over 600 frames), where no box was stored


class DatasetClips:
    """A `ClipSource` over a data set, or over the split of it that was opened. Holds no open files and only names and places, so it is cheap to send
    to other processes: the places of all clips are looked up before, once, not in each of them.

    Its names are the keys of the sequences; over an index of several data sets, whose keys may be alike, the ids in the index as keys."""

    def __init__(self, dataset: Dataset, *, pictures: Sequence[PictureKind] = ("rgb", "mask")) -> None:
        """`pictures`: what to read of each frame, colours or one kind of depth at least. UserError when the data set has no such files."""
        check_needs(pictures)
        self.name = dataset.directory.name
        self.directory = dataset.directory
        self.pictures = tuple(dict.fromkeys(pictures))
        self._keys = [row.key for row in dataset.rows]
        self._names = [sequence_key(row.id) for row in dataset.rows] if dataset.manifest.parts else self._keys
        self._shards = [dataset.shard_path(row) for row in dataset.rows]
        self._frames = dataset.manifest.counts["frames"] // dataset.manifest.counts["sequences"]
        self._spans: dict[Place, dict[str, tuple[int, int]]] = {}  # by shard, filled when one is first asked for
        self._check_members()

    def __len__(self) -> int:
        return len(self._keys)

    def key(self, position: int) -> str:
        """The name of the clip, which no other has."""
        return self._names[position]

    def num_frames(self, position: int) -> int:
        """All clips of a data set are of one length."""
        return self._frames

    def read(self, position: int, frames: Sequence[int] | None = None) -> LabelledClip:
        """The clip, whole or the frames asked for in their order."""
        key, path = self._keys[position], self._shards[position]
        frames = range(self._frames) if frames is None else frames
        if any(not 0 <= frame < self._frames for frame in frames):
            raise ValueError(f"clip {key} has frames 0 to {self._frames - 1}, not {list(frames)}")
        wanted = {f"{frame:03d}.{MEMBERS[picture]}" for frame in frames for picture in self.pictures}
        span = self._spans_of(path).get(key)
        if span is None:
            raise UserError(f"{path} does not hold the sequences that the index lists for it; fetch or generate the data set again")
        members = read_members(path, span, wanted | {"labels.npz", "meta.json"})
        try:
            return replace(self._decode(key, members, frames), key=self._names[position])
        except UserError as error:
            raise UserError(f"{path}: {error}") from error

    def _decode(self, key: str, members: dict[str, bytes], frames: Sequence[int]) -> LabelledClip:
        meta = decode_meta(key, members)
        labels = decode_labels(key, members, meta["frames"], ARRAYS)
        pictures = {picture: decode_pictures(key, MEMBERS[picture], members, meta, frames) for picture in self.pictures}
        return _labelled(key, self.name, meta, labels, pictures, frames)

    def _check_members(self) -> None:
        """One data set has one set of members, so its first clip tells."""
        if not self._keys:
            return
        there = {name.partition(".")[2] for name in first_members(self._shards[0])}
        for picture in self.pictures:
            if MEMBERS[picture] not in there:
                missing = f"{self.directory}: a data set without {NAMES[picture]}: its shards hold no .{MEMBERS[picture]} files"
                raise UserError(f"{missing}; {REMEDIES.get(picture, 'give one as `seqgen generate` writes it')}")

    def _spans_of(self, path: Place) -> dict[str, tuple[int, int]]:
        if path not in self._spans:
            self._spans[path] = shard_spans(path)
        return self._spans[path]

    def locate(self) -> None:
        """Looks up the places of all clips."""
        for path in dict.fromkeys(self._shards):
            self._spans_of(path)

    def __getstate__(self) -> dict[str, Any]:
        self.locate()
        return self.__dict__


def check_needs(pictures: Sequence[PictureKind]) -> None:
    """ValueError for pictures that make no clip."""
    if "rgb" not in pictures and not {"depth", "depth_sensor"} & set(pictures):
        raise ValueError(f"a clip needs colours or depth, not only {tuple(pictures)}")


def clip_of(sequence: HandSequence, source: str, pictures: Sequence[PictureKind], frames: Sequence[int] | None = None) -> LabelledClip:
    """The clip that a `ClipSource` called `source` would read from where this sequence is stored; its arrays may be the sequence's own."""
    frames = range(len(sequence.rgb)) if frames is None else frames
    labels = {name: getattr(sequence.labels, name) for name in ARRAYS}
    chosen = {picture: getattr(sequence, FRAME_MEMBERS[MEMBERS[picture]].field)[list(frames)] for picture in pictures}
    return _labelled(sequence.key, source, sequence.meta, labels, chosen, frames)


def _labelled(key: str, source: str, meta: dict[str, Any], labels: dict[str, Array | None], pictures: dict[PictureKind, Array], frames: Sequence[int]) -> LabelledClip:
    """A clip of some frames, from the labels of all and the pictures of these."""
    chosen = {name: array if array is None or name == "betas" else array[list(frames)] for name, array in labels.items()}
    if chosen["box_px"] is None:
        chosen["box_px"] = _box_about(chosen["joints_px"])
    return LabelledClip(
        key=key,
        source=source,
        side=meta["hand"]["side"],
        fps=meta["fps"],
        joints_valid=np.ones((len(frames), 21), bool),
        camera_kind=meta["camera"]["kind"],
        hand=meta["hand"]["kind"],
        **chosen,
        **{"rgb": None, **_clip_fields(pictures)},
    )


def _clip_fields(pictures: dict[PictureKind, Array]) -> dict[str, Array]:
    """Pictures under the names that a clip has for them."""
    fields = {"rgb": "rgb", "depth": "depth_tenth_mm", "depth_sensor": "depth_tenth_mm"}
    parts = pictures.get("mask")
    masks = {} if parts is None else {"mask": is_hand(parts), "occluder": parts == PART_OCCLUDER}
    return {fields[picture]: array for picture, array in pictures.items() if picture in fields} | masks


def _box_about(joints_px: Float32[Array, "frames 21 2"]) -> Float32[Array, "frames 4"]:
    """The box of a hand of which only the joints are known."""
    low, high = joints_px.min(1), joints_px.max(1)
    flesh = np.float32(FLESH) * (high - low).max(1, keepdims=True)
    return np.concatenate([low - flesh, high + flesh], 1)
