"""What JPEG and PNG cost with other libraries, filters and strategies than ours, as Markdown tables: time, size, and whether the bytes are the same ones.

    python docs/benchmarks/encoding.py [--clips 12]

One thread. Libraries that are not installed are left out: pip install simplejpeg imagecodecs opencv-python-headless isal deflate
"""

import argparse
import contextlib
import hashlib
import importlib
import io
import json
import os
import struct
import subprocess
import sys
import time
import zlib
from collections.abc import Callable, Sequence
from types import ModuleType

import numpy as np
from PIL import Image
from zlib_ng import zlib_ng

from seqgen.config import find_config, read_config
from seqgen.dataset.encoding import encode_sequence
from seqgen.dataset.png import encode_png
from seqgen.dataset.sequence import HandSequence
from seqgen.dataset.shards import sample_bytes
from seqgen.pipeline.assets import gather_assets
from seqgen.pipeline.config import GenerateConfig
from seqgen.pipeline.generate import generate_sequence, open_sources
from seqgen.pipeline.process import one_thread

Array = np.ndarray
Encoder = Callable[[Array], bytes]
ROUNDS, QUALITY = 5, 95
FIELDS = {"depth": "depth_tenth_mm", "depth as a sensor sees it": "depth_sensor_tenth_mm", "parts": "parts", "normals": "normals"}
FILTERS = ("none", "sub", "up", "average", "paeth")  # in the order of their numbers


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=12)
    parser.add_argument("--digests", action="store_true", help="only hashes of what each JPEG library writes")
    arguments = parser.parse_args()
    clips = make_clips(arguments.clips)
    rgb = [frame for clip in clips for frame in clip.rgb]
    if arguments.digests:
        print(json.dumps({name: digest(encoder, rgb) for name, encoder in jpeg_encoders().items()}))
        return
    print_jpeg(rgb, without_simd(arguments.clips))
    for name, field in FIELDS.items():
        print_png(name, [frame for clip in clips for frame in getattr(clip, field)])
    print_members(clips)


def make_clips(count: int) -> list[HandSequence]:
    """Clips of the quickstart with the members whose codecs are compared."""
    config = read_config(GenerateConfig, find_config("quickstart"), {"labels": {"normals": True}, "sensor": {"depth": "sr300"}})
    with one_thread():
        sources = open_sources(gather_assets(config, lambda line: None), config)
        return [generate_sequence(index, sources, config) for index in range(count)]


def print_jpeg(rgb: Sequence[Array], bare: dict[str, str]) -> None:
    print("\n### JPEG, quality 95, 4:2:2\n\n| | ms | kB | bytes of Pillow's | its pixels | same bytes without SIMD | read by Pillow, ms |\n|---|---|---|---|---|---|---|")
    encoders = jpeg_encoders()
    written = {name: [encoder(frame) for frame in rgb] for name, encoder in encoders.items()}
    for name, encoder in encoders.items():
        same, pixels = written[name] == written["Pillow"], all(map(np.array_equal, map(decode, written[name]), map(decode, written["Pillow"])))
        cells = [milliseconds(encoder, rgb), kilobytes(written[name]), yes(same), yes(pixels), yes(bare.get(name) == digest(encoder, rgb))]
        print(f"| {name} | {' | '.join(cells)} | {milliseconds(decode, written[name])} |")


def print_png(name: str, pictures: Sequence[Array]) -> None:
    print(f"\n### PNG: {name}, {pictures[0].itemsize * 8} bit\n\n| | ms | kB | read by Pillow, ms |\n|---|---|---|---|")
    for row, encoder in png_encoders().items():
        with contextlib.suppress(ValueError, OSError):  # a library that does not write such pictures
            written = [encoder(picture) for picture in pictures]
            if not all(map(np.array_equal, map(decode, written), pictures)):
                row += ", **not what was given**"
            print(f"| {row} | {milliseconds(encoder, pictures)} | {kilobytes(written)} | {milliseconds(decode, written)} |")


def print_members(clips: Sequence[HandSequence]) -> None:
    print("\n### What a default clip comes to, ms a frame\n")
    plain = [HandSequence(clip.key, clip.split, clip.rgb, clip.depth_tenth_mm, clip.parts, clip.labels, clip.meta) for clip in clips]
    members = [encode_sequence(clip, jpeg_quality=QUALITY) for clip in plain]
    steps = {
        "members": lambda n: encode_sequence(plain[n], jpeg_quality=QUALITY),
        "tar": lambda n: sample_bytes(plain[n].key, members[n]),
        "two hashes": lambda n: [hashlib.sha256(b"".join(data for _, data in members[n])) for _ in range(2)],
    }
    for name, step in steps.items():
        print(f"- {name}: {float(milliseconds(step, range(len(plain)))) / len(plain[0].rgb):.3f}")


def jpeg_encoders() -> dict[str, Encoder]:
    def pillow(rgb: Array, **options: object) -> bytes:
        stream = io.BytesIO()
        Image.fromarray(rgb).save(stream, "JPEG", quality=QUALITY, subsampling="4:2:2", **options)
        return stream.getvalue()

    encoders = {"Pillow": pillow, "Pillow, optimised tables": lambda rgb: pillow(rgb, optimize=True)}
    if simplejpeg := library("simplejpeg"):
        encoders["simplejpeg"] = lambda rgb: simplejpeg.encode_jpeg(rgb, quality=QUALITY, colorsubsampling="422", fastdct=False)
    if imagecodecs := library("imagecodecs"):
        encoders["imagecodecs, jpeg8"] = lambda rgb: bytes(imagecodecs.jpeg8_encode(rgb, level=QUALITY, subsampling="422"))
    if cv2 := library("cv2"):
        cv2.setNumThreads(1)
        settings = [cv2.IMWRITE_JPEG_QUALITY, QUALITY, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_422]
        encoders["cv2"] = lambda rgb: cv2.imencode(".jpg", rgb[..., ::-1], settings)[1].tobytes()
    return encoders


def png_encoders() -> dict[str, Encoder]:
    """Whole encoders, then ours with other deflate libraries and strategies, then with other filters."""
    encoders: dict[str, Encoder] = {"**ours**": encode_png, "Pillow, level 1": pillow_png}
    if imagecodecs := library("imagecodecs"):
        encoders |= {f"imagecodecs, {name}": lambda picture, name=name: bytes(getattr(imagecodecs, f"{name}_encode")(picture, level=1)) for name in ("png", "spng")}
    if cv2 := library("cv2"):
        encoders["cv2"] = lambda picture: cv2.imencode(".png", picture[..., ::-1] if picture.ndim == 3 else picture)[1].tobytes()
    for deflated, deflate in deflaters().items():
        encoders[f"up, {deflated}"] = lambda picture, deflate=deflate: png(picture, "up", deflate)
    for name in FILTERS:
        encoders[f"{name}, zlib-ng, runs"] = lambda picture, name=name: png(picture, name, of_zlib(zlib_ng, 1, zlib.Z_RLE))
    return encoders


def of_zlib(module: ModuleType, level: int, strategy: int) -> Encoder:
    def deflate(rows: Array) -> bytes:
        stream = module.compressobj(level, zlib.DEFLATED, 15, 9, strategy)
        return stream.compress(rows) + stream.flush()

    return deflate


def deflaters() -> dict[str, Encoder]:
    found = {"zlib, runs": of_zlib(zlib, 1, zlib.Z_RLE), "zlib 1": of_zlib(zlib, 1, 0), "zlib, no matches": of_zlib(zlib, 1, zlib.Z_HUFFMAN_ONLY)}
    found |= {"zlib-ng, runs": of_zlib(zlib_ng, 1, zlib.Z_RLE), "zlib-ng 1": of_zlib(zlib_ng, 1, 0), "zlib-ng 2": of_zlib(zlib_ng, 2, 0)}
    if libdeflate := library("deflate"):
        found |= {f"libdeflate {level}": lambda rows, level=level: bytes(libdeflate.zlib_compress(rows, level)) for level in (1, 4)}
    if isal := library("isal.isal_zlib"):
        found |= {f"isal {level}": lambda rows, level=level: isal.compress(rows, level) for level in (0, 1, 2, 3)}
    return found


def pillow_png(picture: Array) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, "PNG", compress_level=1)
    return stream.getvalue()


def png(picture: Array, kind: str, deflate: Encoder) -> bytes:
    """A PNG with one filter for all rows; the clear way, so that times of "average" and "paeth" are upper bounds."""
    rows = picture.astype(picture.dtype.newbyteorder(">"), order="C").view(np.uint8).reshape(len(picture), -1)
    step = picture.itemsize * (3 if picture.ndim == 3 else 1)
    lines = np.empty((len(rows), rows.shape[1] + 1), np.uint8)
    lines[:, 0], lines[:, 1:] = FILTERS.index(kind), rows - predicted(rows, step, kind)
    about = struct.pack(">IIBBBBB", picture.shape[1], picture.shape[0], 8 * picture.itemsize, 2 if picture.ndim == 3 else 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", about) + chunk(b"IDAT", deflate(lines)) + chunk(b"IEND", b"")


def predicted(rows: Array, step: int, kind: str) -> Array:
    """What a filter expects of every byte, modulo 256."""

    def moved(down: int, across: int) -> Array:
        there = np.zeros_like(rows)
        there[down:, across:] = rows[: len(rows) - down, : rows.shape[1] - across]
        return there

    if kind in ("none", "sub", "up"):
        return moved(len(rows), 0) if kind == "none" else moved(0, step) if kind == "sub" else moved(1, 0)
    left, above, corner = (moved(down, across).astype(np.int16) for down, across in ((0, step), (1, 0), (1, step)))
    if kind == "average":
        return ((left + above) // 2).astype(np.uint8)
    apart = [np.abs(left + above - corner - near) for near in (left, above, corner)]
    return np.where((apart[0] <= apart[1]) & (apart[0] <= apart[2]), left, np.where(apart[1] <= apart[2], above, corner)).astype(np.uint8)


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(data, zlib.crc32(kind)))


def decode(data: bytes) -> Array:
    return np.asarray(Image.open(io.BytesIO(data)))


def library(name: str) -> ModuleType | None:
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


def without_simd(clips: int) -> dict[str, str]:
    """Hashes from a process in which libjpeg-turbo is told to use no SIMD."""
    command = [sys.executable, __file__, "--clips", str(clips), "--digests"]
    return json.loads(subprocess.run(command, env={**os.environ, "JSIMD_FORCENONE": "1"}, capture_output=True, check=True, text=True).stdout)


def digest(encoder: Encoder, pictures: Sequence[Array]) -> str:
    return hashlib.sha256(b"".join(map(encoder, pictures))).hexdigest()


def milliseconds(function: Callable, items: Sequence) -> str:
    """CPU time an item, the least of some rounds."""
    times = []
    for _ in range(ROUNDS):
        begin = time.process_time()
        for item in items:
            function(item)
        times.append(time.process_time() - begin)
    return f"{min(times) / len(items) * 1e3:.3f}"


def kilobytes(written: Sequence[bytes]) -> str:
    return f"{sum(map(len, written)) / len(written) / 1e3:.1f}"


def yes(answer: bool) -> str:
    return "yes" if answer else "no"


if __name__ == "__main__":
    main()
