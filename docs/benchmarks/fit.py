"""How closely, how smoothly and how fast a hand follows: the figures of the fit, as a Markdown table.

    python docs/benchmarks/fit.py [--clips 300] [--reference DIR] [--train STEPS]

The encoder is the shipped one for the built-in bank, and one trained on real_track for that, as the pipeline has them. `--reference` (or
SEQGEN_REFERENCE_DATA) is a folder with `real_track/Training_Annotation.txt`; without it the rows of real hands are left out. `--train` also trains
encoders of four and of seven layers for so many steps and compares them. One thread; times are the best of three rounds.
"""

import argparse
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from scipy.spatial.transform import Rotation

from seqgen.files import cache_folder
from seqgen.geometry import rigid_alignment
from seqgen.hand import load_hand
from seqgen.hand.anatomy import joint_axes
from seqgen.hand.digits import digit_bones, digit_rig, rotations_from_angles, start_angles, unit
from seqgen.hand.fit import HINGES, SHIPPED, PoseEncoder, direction_errors_rad, load_encoder, read_encoder, train_encoder
from seqgen.hand.layer import HandLayer
from seqgen.hand.plausibility import hand_capsules, measure_plausibility
from seqgen.hand.refine import direction_problem, refine_angles, refine_directions
from seqgen.hand.track import fit_recording
from seqgen.pipeline.process import one_thread
from seqgen.poses import load_bank, load_built_in_bank
from seqgen.poses.bank import PoseBank
from seqgen.poses.flow import FlowConfig, draw_flow
from seqgen.poses.graph import load_graph
from seqgen.poses.synthesis import synthesise_poses
from seqgen.skeleton import hand_frame

FRAMES, FPS, BATCH = 10, 30.0, 8
HAND = load_hand("open")
RIG, LAYER, CAPSULES = digit_rig(HAND), HandLayer(HAND), hand_capsules(HAND)
RIG_FRAMES = joint_axes(HAND)[1:]


class Row(NamedTuple):
    what: str
    encoder: str
    refined: str
    target: str


def joints_of(rotations: np.ndarray, betas: np.ndarray) -> np.ndarray:
    """Joints (frames, 21, 3) of hands that are not turned, by the layer."""
    pose = torch.cat([torch.zeros(len(rotations), 1, 3), torch.as_tensor(rotations, dtype=torch.float32)], 1)
    with torch.no_grad():
        return LAYER.joints(pose, torch.as_tensor(betas, dtype=torch.float32).expand(len(pose), 10)).double().numpy()


def encoded(encoder: PoseEncoder, joints: np.ndarray) -> np.ndarray:
    """What the encoder makes of joints, normalised as it wants them."""
    with torch.no_grad():
        return encoder(torch.as_tensor(hand_frame(joints).normalise(joints), dtype=torch.float32)).numpy()


def directions(joints: np.ndarray) -> np.ndarray:
    """The 15 finger bones in the palm's frame, unit vectors."""
    return unit(digit_bones(joints)) @ hand_frame(joints).axes[:, None]


def off_degrees(made: list[np.ndarray], asked: list[np.ndarray]) -> np.ndarray:
    """Angles between bones, over all clips."""
    chords = [np.linalg.norm(directions(a) - directions(b), axis=-1) for a, b in zip(made, asked, strict=True)]
    return np.degrees(2 * np.arcsin(np.clip(np.concatenate(chords) / 2, 0, 1)))


def jerk_over_speed(clips: list[np.ndarray]) -> float:
    """Mean third over mean first difference of joints in the palm's frame, a frame apart."""
    normal = [hand_frame(clip).normalise(clip) for clip in clips]
    third, first = (np.mean([np.linalg.norm(np.diff(clip, n=n, axis=0), axis=-1).mean() for clip in normal]) for n in (3, 1))
    return float(third / first)


def walks(bank: PoseBank, num_clips: int) -> list[np.ndarray]:
    """Clips of the pipeline's own walk."""
    graph = load_graph(bank, cache_folder(), where=bank.name)
    return [draw_flow(bank, graph, FlowConfig(), frames=FRAMES, stride=1, fps=FPS, rng=np.random.default_rng(number)).joints_m for number in range(num_clips)]


def following(name: str, clips: list[np.ndarray], encoder: PoseEncoder) -> list[Row]:
    """Directions, jerk and plausibility of clips followed by hands of drawn shapes."""
    betas = [np.random.default_rng(number).standard_normal(10) for number in range(len(clips))]
    starts = [encoded(encoder, clip) for clip in clips]
    refined = [refine_directions(RIG, *(value[None] for value in values), fps=FPS)[0] for values in zip(starts, clips, betas, strict=True)]
    columns, hinges = [], [joint - 1 for joint in HINGES]
    for rotations in (starts, refined):
        made = [joints_of(*values) for values in zip(rotations, betas, strict=True)]
        errors = off_degrees(made, clips)
        local = np.einsum("tjc,jca->tja", np.concatenate(rotations)[:, hinges], RIG_FRAMES[hinges])
        measured = measure_plausibility(CAPSULES, np.stack(rotations), np.stack(betas))
        implausible = np.mean([not one.is_plausible() for one in measured])
        cells = (errors.mean(), np.quantile(errors, 0.99), jerk_over_speed(made) / jerk_over_speed(clips), np.degrees(np.quantile(np.abs(local[..., [0, 2]]), 0.99)))
        columns.append([f"{cells[0]:.2f}", f"{cells[1]:.2f}", f"{cells[2]:.2f}", f"{cells[3]:.1f}", f"{100 * implausible:.0f} %"])
    asked = jerk_over_speed(clips)
    lines = (
        ("direction error, mean (degrees)", "< 3"),
        ("99th percentile", "< 10"),
        (f"jerk over speed, against the clips' own {asked:.2f}", "< 1.1"),
        ("turns that hinges lack, 99th percentile (degrees)", "0"),
        ("clips past a threshold of plausibility", ""),
    )
    return [Row(f"{name}: {what}", first, second, target) for (what, target), first, second in zip(lines, *columns, strict=True)]


def best_of_three(work: Callable[[], object]) -> float:
    """Seconds of the fastest of three rounds."""
    seconds = []
    for _ in range(3):
        began = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - began)
    return min(seconds)


def throughput(name: str, clips: list[np.ndarray], encoder: PoseEncoder) -> list[Row]:
    """Frames a second of one core, BATCH clips at a time, as the generator does it."""
    batches = [np.stack(clips[first : first + BATCH]) for first in range(0, len(clips), BATCH)]
    shapes = [np.zeros((len(batch), 10)) for batch in batches]
    starts = [encoder.of_clips(batch) for batch in batches]
    alone = best_of_three(lambda: [encoder.of_clips(batch) for batch in batches])
    both = best_of_three(lambda: [refine_directions(RIG, encoder.of_clips(batch), batch, betas, fps=FPS) for batch, betas in zip(batches, shapes, strict=True)])
    measured = best_of_three(lambda: [measure_plausibility(CAPSULES, start, betas) for start, betas in zip(starts, shapes, strict=True)])
    frames = FRAMES * len(clips)
    return [
        Row(f"{name}: frames a second, one core, clips of {FRAMES}", f"{frames / alone:,.0f}", f"{frames / both:,.0f}", "> 4,000"),
        Row(f"{name}: plausibility, ms a clip", "", f"{1e3 * measured / len(clips):.2f}", "< 0.3"),
    ]


def recordings_of_hands(bank: PoseBank, stretch: float) -> list[np.ndarray]:
    """Recordings of six drawn shapes in 200 poses of the bank; finger bones longer or shorter by a share `stretch` (one deviation), knuckles farther by half of it."""
    recordings = []
    for number in range(6):
        rng = np.random.default_rng(number)
        betas, poses = rng.standard_normal(10), bank.joints_m[rng.integers(len(bank), size=200)].astype(float)
        problem = direction_problem(RIG, poses[None], betas[None], smoothness=0.0)
        angles = refine_angles(problem, start_angles(RIG, problem.targets.transpose(3, 4, 1, 2, 0)))[0]
        joints = joints_of(rotations_from_angles(RIG, angles), betas)
        joints -= joints[:, :1]
        bases, bones = joints[:, 1::4] * (1 + stretch / 2 * rng.standard_normal((5, 1))), digit_bones(joints) * (1 + stretch * rng.standard_normal((5, 3, 1)))
        joints[:, 1:] = (bases[:, :, None] + np.concatenate([np.zeros((200, 5, 1, 3)), np.cumsum(bones, 2)], 2)).reshape(-1, 20, 3)
        recordings.append(somewhere(joints, rng))
    return recordings


def somewhere(joints: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Hands turned and placed anyhow before a camera."""
    turns = Rotation.random(len(joints), rng=rng).as_matrix()
    return np.einsum("nij,nkj->nki", turns, joints) + rng.normal(0, 0.3, (len(joints), 1, 3))


def synthesised_subjects() -> list[np.ndarray]:
    """Recordings of the built-in bank's own skeletons, whose joints are not where the open hand has them."""
    poses = synthesise_poses(1200, seed=7, num_subjects=6)
    return [somewhere(poses.joints_m[poses.subject == subject].astype(float), np.random.default_rng(subject)) for subject in range(6)]


def tracking(name: str, recordings: list[np.ndarray], encoder: PoseEncoder, target: str) -> Row:
    """Mean joint error of recordings with one shape each; the encoder alone: the mean shape, laid over the joints."""
    alone, fitted = [], []
    for joints in recordings:
        made = joints_of(encoded(encoder, joints), np.zeros(10))
        turn, shift = rigid_alignment(made, joints)
        alone.append(np.linalg.norm(np.einsum("tij,tkj->tki", turn, made) + shift[:, None] - joints, axis=-1).mean())
        fit = fit_recording(HAND, joints)
        mesh = LAYER(*(torch.as_tensor(values) for values in (fit.pose, np.repeat(fit.betas[None], len(joints), 0), fit.translation_m)))
        fitted.append(np.linalg.norm(mesh.joints_m.double().numpy() - joints, axis=-1).mean())
    return Row(f"{name}: mean joint error (mm)", f"{1e3 * np.mean(alone):.2f}", f"{1e3 * np.mean(fitted):.2f}", target)


def depths(bank: PoseBank, num_steps: int) -> list[Row]:
    """Encoders of both depths after as many steps, on rows of the bank."""
    rows = []
    for layers in (4, 7):
        began = time.perf_counter()
        encoder = train_encoder(HAND, bank.joints_m, num_steps=num_steps, layers=layers)
        seconds = time.perf_counter() - began
        errors = np.degrees(direction_errors_rad(encoder, HAND, bank.joints_m[::37]))
        cell = f"{errors.mean():.2f} / {np.quantile(errors, 0.99):.2f}"
        rows.append(Row(f"{layers} layers, {num_steps:,} steps in {seconds:.0f} s: direction error, mean / 99th percentile (degrees)", cell, "", ""))
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=300)
    parser.add_argument("--reference", type=Path, default=os.environ.get("SEQGEN_REFERENCE_DATA"))
    parser.add_argument("--train", type=int, default=0, metavar="STEPS")
    arguments = parser.parse_args()
    with one_thread():
        rows = measure(arguments)
    lines = ["| what | encoder alone | refined | target |", "|---|---|---|---|", *(f"| {' | '.join(row)} |" for row in rows)]
    sys.stdout.write(f"{machine()}\n\n" + "\n".join(lines) + "\n")


def measure(arguments: argparse.Namespace) -> list[Row]:
    """All rows."""
    bank, encoder = load_built_in_bank(100_000), read_encoder(SHIPPED)
    clips = walks(bank, arguments.clips)
    rows = following("built-in walks", clips, encoder) + throughput("built-in walks", clips, encoder)
    rows.append(tracking("hands of drawn shapes", recordings_of_hands(bank, 0.0), encoder, "< 2.0"))
    rows.append(tracking("the same with bones 6 % longer or shorter, each", recordings_of_hands(bank, 0.06), encoder, "< 2.0"))
    rows.append(tracking("skeletons of the built-in bank (other joint centres)", synthesised_subjects(), encoder, ""))
    if arguments.reference:
        path = Path(arguments.reference) / "real_track" / "Training_Annotation.txt"
        real = load_bank(path, "hands17")
        recorded = real.in_source(np.arange(len(real)))
        real_walks, encoder = walks(real, arguments.clips), load_encoder(HAND, real.name, real.digest, real.joints_m, cache_folder())
        rows += following("real_track, walks", real_walks, encoder)
        rows += following("real_track, as recorded", [recorded[first : first + FRAMES] for first in range(0, len(recorded) - FRAMES, FRAMES)], encoder)
        rows += throughput("real_track, walks", real_walks, encoder)
        rows.append(tracking("real_track", [recorded], encoder, "< 4.0"))
    return rows + (depths(bank, arguments.train) if arguments.train else [])


def machine() -> str:
    """What the figures were measured on."""
    names = [line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    return f"{names[0] if names else 'unknown processor'}, one core of {len(names) or os.cpu_count()}; numpy {np.__version__}, torch {torch.__version__}"


if __name__ == "__main__":
    main()
