"""Measures what each feature of the pictures costs, and how fast whole presets go, on one core of this machine; prints it as Markdown.

    python docs/benchmarks/pictures.py [--clips 40] [--rounds 5] > docs/benchmarks/pictures.md

Every row is timed in every round, one after the other, so that what else the machine does falls on all of them; a figure is the median over the rounds.
"""

import argparse
import platform
import sys
import time
from typing import Any

import numpy as np

from seqgen.config import build, find_config, overlay, read_toml
from seqgen.dataset.encoding import encode_sequence
from seqgen.pipeline.assets import gather_assets
from seqgen.pipeline.config import GenerateConfig
from seqgen.pipeline.generate import Sources, generate_sequence, open_sources
from seqgen.pipeline.process import one_thread

Fields = dict[str, Any]
BARE: Fields = {"arm.kind": "none", "occluder.share": 0.0, "light.kind": "flat", "skin.kind": "flat", "sensor.kind": "none"}
SENSOR: Fields = {"sensor.kind": "drawn", "sensor.jpeg": 0.0, "sensor.defocus_px": 0.0, "sensor.spectrum": 0.0, "sensor.sharpening": 0.0}
FEATURES: dict[str, Fields] = {
    "painted skin": {"skin.kind": "drawn"},
    "arm and sleeve": {"arm.kind": "drawn"},
    "something in the way of every clip": {"occluder.share": 1.0},
    "light shared with the photo": {"light.kind": "drawn", "light.shadows": False},
    "the same with shadows": {"light.kind": "drawn"},
    "exposure, white balance and noise": SENSOR,
    "the same with sharpening and the spectrum's slope": SENSOR | {"sensor.spectrum": 0.15, "sensor.sharpening": 0.8},
    "the same with defocus as it is drawn": SENSOR | {"sensor.defocus_px": 0.5},
    "the same with the camera's JPEG in every clip": SENSOR | {"sensor.jpeg": 1.0},
    "motion blur": {"render.shutter": [0.5, 0.5]},
    "3 x 3 samples": {"render.samples": 3},
    "depth as an SR300 sees it": {"sensor.depth": "sr300"},
    "depth as a Kinect v1 sees it": {"sensor.depth": "kinect_v1"},
    "depth as a Kinect v2 sees it": {"sensor.depth": "kinect_v2"},
    "depth as a D435 sees it": {"sensor.depth": "d435"},
    "optical flow": {"labels.optical_flow": True},
    "normals": {"labels.normals": True},
    "both masks": {"labels.mask_amodal": True, "labels.mask_visible": True},
}
EVERYTHING: Fields = {"occluder.share": 1.0, "render.shutter": [0.5, 0.5], "sensor.depth": "kinect_v1", "labels.optical_flow": True}
PRESETS = ("quickstart", "paper")


def config_of(name: str, fields: Fields) -> GenerateConfig:
    """A shipped config with some fields replaced."""
    tables = read_toml(find_config(name))
    for dotted, value in fields.items():
        tables = overlay(tables, dotted, value)
    return build(GenerateConfig, tables, where=name)


def ms_a_frame(config: GenerateConfig, sources: Sources, clips: int) -> float:
    """CPU milliseconds of one core from index to encoded members, a frame."""
    start = time.process_time()
    for index in range(clips):
        encode_sequence(generate_sequence(index, sources, config), jpeg_quality=config.output.jpeg_quality)
    return (time.process_time() - start) / clips / config.clip.frames * 1e3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clips", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    rows = {"bare": config_of("quickstart", BARE)}
    rows |= {name: config_of("quickstart", BARE | fields) for name, fields in FEATURES.items()}
    rows |= {f"preset {name}": config_of(name, {}) for name in PRESETS}
    rows |= {"everything": config_of("quickstart", EVERYTHING)}
    with one_thread():
        ready = {name: (config, open_sources(gather_assets(config, lambda line: None), config)) for name, config in rows.items()}
        for config, sources in ready.values():
            ms_a_frame(config, sources, 2)
        rounds = [{name: ms_a_frame(*told, options.clips) for name, told in ready.items()} for _ in range(options.rounds)]
    report({name: [measured[name] for measured in rounds] for name in rows}, options.clips)


def report(times: dict[str, list[float]], clips: int) -> None:
    """The tables."""
    print(f"# Pictures, what they cost\n\n{platform.machine()}, one core, Python {platform.python_version()}, 224 x 224, clips of 10. Made by `python {' '.join(sys.argv)}`.\n")
    print(f"The whole pipeline from index to encoded members, {clips} clips a round, median of {len(times['bare'])} rounds.\n")
    print("| | ms a frame | frames/s |\n|---|---|---|")
    for name in (name for name in times if name not in FEATURES):
        middle = float(np.median(times[name]))
        print(f"| {name} | {middle:.2f} | {1e3 / middle:.0f} |")
    print("\n| switched on alone, over bare | ms a frame more |\n|---|---|")
    for name in FEATURES:
        print(f"| {name} | {np.median(np.array(times[name]) - np.array(times['bare'])):.2f} |")


if __name__ == "__main__":
    main()
