"""A `HandSequence` as the members of a WebDataset sample, and back. The same record gives the same bytes.

    <key>.000.rgb.jpg             sRGB                                         per frame, in this order
         .000.depth.png           uint16, 0.1 mm, 0 = nothing
         .000.parts.png           uint8, 0 = background
         .000.depth_sensor.png    as depth                                     this and the next four in all frames of a data set, or in none
         .000.flow.npy            float32 (height, width, 2)
         .000.normals.png         uint8, three channels
         .000.mask_amodal.png     uint8, 0 or 255
         .000.mask_visible.png    uint8, 0 or 255
         ...
         .labels.npz              the arrays of `Labels` under their names, uncompressed; those that are None are left out
         .meta.json               `seqgen.dataset.meta.SequenceMeta`, keys sorted

Which of the optional members a sample has is told by its names: what one frame has, all have.
A JPEG has colour at half its width (4:2:2), from quality FULL_COLOUR on at all of it (4:4:4): at quality 95 it is read in 0.68 of the time, which is most of what a
reader waits for, and is 1.0 dB from the picture farther than with all colour, 3.5 dB along the hand's outline (39.1 to 35.6). At half its height too (4:2:0) it is
read no faster, 1.7 dB worse there.
"""

import io
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields
from functools import cache
from typing import Any, TypeVar, get_type_hints

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from seqgen.dataset.meta import check_meta, null_fields
from seqgen.dataset.npz import encode_npy, encode_npz
from seqgen.dataset.png import encode_png
from seqgen.dataset.sequence import HandSequence, Labels
from seqgen.errors import UserError
from seqgen.untrusted import Damaged, npz_names, read_npy, read_npz, read_picture

Array = np.ndarray
Decoded = TypeVar("Decoded")
FULL_COLOUR = 96


@dataclass(frozen=True)
class FrameMember:
    """A file of each frame: the field of `HandSequence` that it holds, with the type and channels of a picture."""

    field: str
    dtype: type
    channels: tuple[int, ...] = ()
    optional: bool = True


FRAME_MEMBERS = {
    "rgb.jpg": FrameMember("rgb", np.uint8, (3,), optional=False),
    "depth.png": FrameMember("depth_tenth_mm", np.uint16, optional=False),
    "parts.png": FrameMember("parts", np.uint8, optional=False),
    "depth_sensor.png": FrameMember("depth_sensor_tenth_mm", np.uint16),
    "flow.npy": FrameMember("flow_px", np.float32, (2,)),
    "normals.png": FrameMember("normals", np.uint8, (3,)),
    "mask_amodal.png": FrameMember("mask_amodal", np.uint8),
    "mask_visible.png": FrameMember("mask_visible", np.uint8),
}
MOST_LABEL_BYTES, MOST_OTHER_BYTES = 4096, 65_536  # of the labels of a frame, which have 1,100, and of what is there once


def frame_members(sequence: HandSequence) -> tuple[str, ...]:
    """The files that each frame of a sequence has, in their order."""
    return tuple(name for name, member in FRAME_MEMBERS.items() if getattr(sequence, member.field) is not None)


def member_names(frames: int, members: Iterable[str]) -> list[str]:
    """The members of a sample of `frames` frames that have `members` each, in their order."""
    members = tuple(members)
    return [f"{frame:03d}.{member}" for frame in range(frames) for member in members] + ["labels.npz", "meta.json"]


def encode_sequence(sequence: HandSequence, *, jpeg_quality: int) -> list[tuple[str, bytes]]:
    """The members (name after the key, bytes) of a sample, in their order."""
    _check_agreement(sequence)
    names = frame_members(sequence)
    pictures = [_encode_picture(name, getattr(sequence, FRAME_MEMBERS[name].field)[frame], jpeg_quality) for frame in range(len(sequence.rgb)) for name in names]
    return list(zip(member_names(len(sequence.rgb), names), [*pictures, _encode_labels(sequence.labels), _encode_meta(sequence.meta)], strict=True))


def decode_sequence(key: str, members: Mapping[str, bytes]) -> HandSequence:
    """The mirror of `encode_sequence`; rgb is what the JPEG holds. A UserError names the member that is missing, unknown or damaged."""
    meta = decode_meta(key, members)
    if meta["frames"] > len(members):
        raise UserError(f"{key}.meta.json says {meta['frames']} frames, the sample has {len(members)} members")
    there = {name.partition(".")[2] for name in members}
    present = [name for name, member in FRAME_MEMBERS.items() if not member.optional or name in there]
    names = member_names(meta["frames"], present)
    for name in sorted(set(names) ^ set(members)):
        raise UserError(f"{key}.{name} " + ("is missing" if name in names else f"is no member of a sample of {meta['frames']} frames"))
    pictures = {FRAME_MEMBERS[name].field: decode_pictures(key, name, members, meta, range(meta["frames"])) for name in present}
    labels = _decode(key, "labels.npz", members, lambda data: _decode_labels(data, meta["frames"]))
    return HandSequence(key=key, split=meta["split"], labels=labels, meta=meta, **pictures)


def decode_pictures(key: str, name: str, members: Mapping[str, bytes], meta: Mapping[str, Any], frames: Iterable[int]) -> Array:
    """The pictures of one kind ("rgb.jpg") of some frames, in the order asked for."""
    member = FRAME_MEMBERS[name]
    shape, read = (*meta["size"][::-1], *member.channels), _read_npy if name.endswith(".npy") else _read_image
    return np.stack([_decode(key, f"{frame:03d}.{name}", members, lambda data: _checked(read(data, shape), member.dtype, shape)) for frame in frames])


def stored_rgb(rgb: UInt8[Array, "frames height width 3"], jpeg_quality: int) -> UInt8[Array, "frames height width 3"]:
    """What is read of pictures that were stored at this quality."""
    return np.stack([_read_image(_encode_jpeg(picture, jpeg_quality), picture.shape) for picture in rgb])


def decode_labels(key: str, members: Mapping[str, bytes], frames: int, names: Iterable[str]) -> dict[str, Array | None]:
    """Those arrays of `Labels` that are asked for; None where the data set may have none and has none."""
    return _decode(key, "labels.npz", members, lambda data: _decode_arrays(data, frames, names))


def decode_meta(key: str, members: Mapping[str, bytes]) -> dict[str, Any]:
    """The meta of sequence `key`, checked."""
    meta = _decode(key, "meta.json", members, _decode_meta)
    if meta["key"] != key:
        raise UserError(f"{key}.meta.json is that of sequence {meta['key']}")
    return meta


def sequence_schema(sequence: HandSequence) -> dict[str, Any]:
    """What all samples of one data set have in common, beyond the keys and types of their meta."""
    labels = tuple(field.name for field in fields(Labels) if getattr(sequence.labels, field.name) is not None)
    return {"picture shape": sequence.rgb.shape, "members": frame_members(sequence), "labels": labels, "null fields": null_fields(sequence.meta)}


def _check_agreement(sequence: HandSequence) -> None:
    """The meta says what the record is, and all its pictures have one size and number."""
    check_meta(sequence.meta)
    frames, height, width = sequence.depth_tenth_mm.shape
    for name, value in {"key": sequence.key, "split": sequence.split, "frames": frames, "size": [width, height]}.items():
        if sequence.meta[name] != value:
            raise ValueError(f"{sequence.key}: meta.{name} is {sequence.meta[name]!r}, the sequence has {value!r}")
    for name in frame_members(sequence):
        member, pictures = FRAME_MEMBERS[name], getattr(sequence, FRAME_MEMBERS[name].field)
        if pictures.shape != (frames, height, width, *member.channels) or pictures.dtype != member.dtype:
            raise ValueError(f"{sequence.key}: {member.field} is {pictures.dtype} of shape {pictures.shape}, the sequence has {frames} frames of {width} x {height}")


def _encode_picture(name: str, picture: Array, jpeg_quality: int) -> bytes:
    """One file of a frame, in the format of its name."""
    if name.endswith(".jpg"):
        return _encode_jpeg(picture, jpeg_quality)
    return encode_png(picture) if name.endswith(".png") else encode_npy(picture)


def _encode_jpeg(rgb: UInt8[Array, "height width 3"], quality: int) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(rgb).save(stream, "JPEG", quality=quality, subsampling="4:4:4" if quality >= FULL_COLOUR else "4:2:2")
    return stream.getvalue()


def _encode_labels(labels: Labels) -> bytes:
    return encode_npz({field.name: array for field in fields(Labels) if (array := getattr(labels, field.name)) is not None})


def _encode_meta(meta: Mapping[str, Any]) -> bytes:
    return json.dumps(meta, sort_keys=True, allow_nan=False).encode()


def _decode(key: str, name: str, members: Mapping[str, bytes], decoder: Callable[[bytes], Decoded]) -> Decoded:
    """Runs a decoder; whatever a codec raises over damaged bytes becomes one line that names the member."""
    if name not in members:
        raise UserError(f"{key}.{name} is missing")
    try:
        return decoder(members[name])
    except (ValueError, RecursionError) as error:
        raise UserError(f"{key}.{name} is damaged: {error}") from error


def _read_image(data: bytes, shape: tuple[int, ...]) -> Array:
    """The pixels; not of a picture whose header says another size, which may be any."""
    return np.asarray(read_picture(io.BytesIO(data), size=shape[1::-1]).image)


def _read_npy(data: bytes, shape: tuple[int, ...]) -> Array:
    """The array, of whatever shape: it is no larger than its bytes."""
    return read_npy(io.BytesIO(data), len(data))


def _checked(picture: Array, dtype: type, shape: tuple[int, ...]) -> Array:
    """A picture with the type and the shape it should have."""
    if picture.dtype != dtype or picture.shape != shape:
        raise ValueError(f"it is {picture.dtype} of shape {picture.shape}, expected {np.dtype(dtype)} of shape {shape}")
    return picture


def _decode_labels(data: bytes, frames: int) -> Labels:
    """The labels, with the types and shapes that `Labels` declares."""
    for name in sorted(set(npz_names(io.BytesIO(data))) - set(_label_hints())):
        raise Damaged(f"unknown array {name}")
    return Labels(**_decode_arrays(data, frames, _label_hints()))


def _decode_arrays(data: bytes, frames: int, names: Iterable[str]) -> dict[str, Array | None]:
    """Some arrays, with the types and shapes that `Labels` declares."""
    there = read_npz(io.BytesIO(data), tuple(names), most_bytes=MOST_OTHER_BYTES + frames * MOST_LABEL_BYTES)
    arrays = {name: there.get(name) for name in names}
    for name, array in arrays.items():
        hint = _label_hints()[name]
        if not isinstance(array, hint) or (array is not None and name != "betas" and len(array) != frames):
            raise ValueError(f"{name} is {'missing' if array is None else f'{array.dtype} of shape {array.shape}'}, expected {hint} with {frames} frames")
    return arrays


@cache
def _label_hints() -> dict[str, Any]:
    """Name to type of the arrays, which take longer to ask for than to decode."""
    return get_type_hints(Labels)


def _decode_meta(data: bytes) -> dict[str, Any]:
    meta = json.loads(data)
    check_meta(meta)
    return meta
