"""A `HandSequence` as the members of a WebDataset sample, and back. The same record gives the same bytes.

    <key>.000.rgb.jpg      sRGB, 4:4:4                          per frame, in this order
         .000.depth.png    uint16, 0.1 mm, 0 = nothing
         .000.parts.png    uint8, 0 = background
         ...
         .labels.npz       the arrays of `Labels` under their names, uncompressed; those that are None are left out
         .meta.json        `seqgen.dataset.meta.SequenceMeta`, keys sorted

Colour is not subsampled (4:2:0) at any quality: at equal size 4:4:4 is better, above all along the hand's outline (224x224 hands on photos:
4:4:4 at quality 90, 21.6 kB, 31.4 dB there; 4:2:0 at 95, 22.9 kB, 28.2 dB). PNG level 1 halves the time of level 6 for 0.9 + 0.4 kB a frame.
"""

import io
import json
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any, TypeVar, get_type_hints

import numpy as np
from jaxtyping import UInt8, UInt16
from PIL import Image

from seqgen.dataset.meta import check_meta, null_fields
from seqgen.dataset.sequence import HandSequence, Labels
from seqgen.errors import UserError

Array = np.ndarray
Decoded = TypeVar("Decoded")

FRAME_MEMBERS = ("rgb.jpg", "depth.png", "parts.png")
PNG_LEVEL = 1
ZIP_DATE = (1980, 1, 1, 0, 0, 0)  # the earliest a zip can hold


def member_names(frames: int) -> list[str]:
    """The members of a sample of `frames` frames, in their order."""
    return [f"{frame:03d}.{member}" for frame in range(frames) for member in FRAME_MEMBERS] + ["labels.npz", "meta.json"]


def encode_sequence(sequence: HandSequence, *, jpeg_quality: int) -> list[tuple[str, bytes]]:
    """The members (name after the key, bytes) of a sample, in their order."""
    _check_agreement(sequence)
    pictures = []
    for rgb, depth, parts in zip(sequence.rgb, sequence.depth_tenth_mm, sequence.parts, strict=True):
        pictures += [_encode_jpeg(rgb, jpeg_quality), _encode_png(depth), _encode_png(parts)]
    return list(zip(member_names(len(sequence.rgb)), [*pictures, _encode_labels(sequence.labels), _encode_meta(sequence.meta)], strict=True))


def decode_sequence(key: str, members: Mapping[str, bytes]) -> HandSequence:
    """The mirror of `encode_sequence`; rgb is what the JPEG holds. A UserError names the member that is missing, unknown or damaged."""
    if "meta.json" not in members:
        raise UserError(f"{key}.meta.json is missing")
    meta = _decode(key, "meta.json", members, _decode_meta)
    if meta["key"] != key:
        raise UserError(f"{key}.meta.json is that of sequence {meta['key']}")
    names = member_names(meta["frames"])
    for name in sorted(set(names) ^ set(members)):
        raise UserError(f"{key}.{name} " + ("is missing" if name in names else f"is no member of a sample of {meta['frames']} frames"))
    rgb, depth, parts = (
        np.stack([_decode(key, name, members, lambda data, dtype=dtype: _decode_picture(data, dtype, meta["size"])) for name in names if name.endswith(member)])
        for member, dtype in zip(FRAME_MEMBERS, (np.uint8, np.uint16, np.uint8), strict=True)
    )
    labels = _decode(key, "labels.npz", members, lambda data: _decode_labels(data, meta["frames"]))
    return HandSequence(key=key, split=meta["split"], rgb=rgb, depth_tenth_mm=depth, parts=parts, labels=labels, meta=meta)


def sequence_schema(sequence: HandSequence) -> dict[str, Any]:
    """What all samples of one data set have in common, beyond the keys and types of their meta."""
    labels = tuple(field.name for field in fields(Labels) if getattr(sequence.labels, field.name) is not None)
    return {"picture shape": sequence.rgb.shape, "labels": labels, "null fields": null_fields(sequence.meta)}


def _check_agreement(sequence: HandSequence) -> None:
    """The meta says what the record is."""
    check_meta(sequence.meta)
    frames, height, width = sequence.depth_tenth_mm.shape
    for name, value in {"key": sequence.key, "split": sequence.split, "frames": frames, "size": [width, height]}.items():
        if sequence.meta[name] != value:
            raise ValueError(f"{sequence.key}: meta.{name} is {sequence.meta[name]!r}, the sequence has {value!r}")


def _encode_jpeg(rgb: UInt8[Array, "height width 3"], quality: int) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(rgb).save(stream, "JPEG", quality=quality, subsampling="4:4:4")
    return stream.getvalue()


def _encode_png(picture: UInt16[Array, "height width"] | UInt8[Array, "height width"]) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, "PNG", compress_level=PNG_LEVEL)
    return stream.getvalue()


def _encode_labels(labels: Labels) -> bytes:
    """An `.npz` with fixed dates. Stored, not deflated: floats of a moving hand do not shrink."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
        for field in fields(Labels):
            array = getattr(labels, field.name)
            if array is not None:
                member = io.BytesIO()
                np.lib.format.write_array(member, np.ascontiguousarray(array), allow_pickle=False)
                archive.writestr(zipfile.ZipInfo(f"{field.name}.npy", ZIP_DATE), member.getvalue())
    return stream.getvalue()


def _encode_meta(meta: Mapping[str, Any]) -> bytes:
    return json.dumps(meta, sort_keys=True, allow_nan=False).encode()


def _decode(key: str, name: str, members: Mapping[str, bytes], decoder: Callable[[bytes], Decoded]) -> Decoded:
    """Runs a decoder; whatever a codec raises over damaged bytes becomes one line that names the member."""
    try:
        return decoder(members[name])
    except Exception as error:
        raise UserError(f"{key}.{name} is damaged: {error}") from error


def _decode_picture(data: bytes, dtype: type, size: list[int]) -> Array:
    """A picture with the type and the size ([width, height]) it should have."""
    picture = np.asarray(Image.open(io.BytesIO(data)))
    if picture.dtype != dtype or picture.shape[1::-1] != tuple(size):
        raise ValueError(f"it is {picture.shape[1::-1]} of {picture.dtype}, expected {tuple(size)} of {np.dtype(dtype)}")
    return picture


def _decode_labels(data: bytes, frames: int) -> Labels:
    """The labels, with the types and shapes that `Labels` declares."""
    with np.load(io.BytesIO(data), allow_pickle=False) as archive:
        arrays = {name: archive[name] for name in archive.files}
    hints = get_type_hints(Labels)
    for name in sorted(set(arrays) - set(hints)):
        raise ValueError(f"unknown array {name}")
    for name, hint in hints.items():
        array = arrays.get(name)
        if not isinstance(array, hint) or (array is not None and name != "betas" and len(array) != frames):
            raise ValueError(f"{name} is {'missing' if array is None else f'{array.dtype} of shape {array.shape}'}, expected {hint} with {frames} frames")
    return Labels(**{name: arrays.get(name) for name in hints})


def _decode_meta(data: bytes) -> dict[str, Any]:
    meta = json.loads(data)
    check_meta(meta)
    return meta
