"""From joints to hand parameters: the MLP encoder, trained on the reconstruction through the detached hand (SeqHAND, section 3.1).

    joints (B, 63), hand frame, 95 mm palm ──> 4 or 7 linear layers ──> rotations of the 15 finger joints (B, 15, 3), axis-angle

Four layers are the paper's, and what ships; seven are the official script's, with its batch normalisation and tanh. `refine.py` takes over from there.

The hand's own bones are longer or shorter than those of the annotated subject, so what is matched is the direction of the 15 finger bones in the
palm's frame, not positions: otherwise a short bone would bend a finger. The global rotation needs no network: the palm of a hand model is rigid.
"""

import copy
import logging
from collections.abc import Callable, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Float32
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from seqgen.errors import UserError
from seqgen.files import arrays_digest, file_digest, written_aside
from seqgen.hand.anatomy import joint_axes
from seqgen.hand.layer import HandLayer
from seqgen.hand.model import HandModel
from seqgen.skeleton import FINGER_BONES, hand_frame

Array = np.ndarray
Depth = Literal[4, 7]
SIZES: dict[int, tuple[int, ...]] = {4: (63, 256, 256, 256, 45), 7: (63, 256, 512, 1024, 512, 256, 128, 45)}
SCRIPT_RANGE_RAD = np.pi  # what the script's last tanh is scaled by; 3.5 there, where outputs are principal components
BATCH = 256
NUM_STEPS = 5000
SHIPPED = Path(__file__).parent / "assets" / "open_encoder.safetensors"
# Rotations that bone directions cannot tell: twist about a bone, and sideways bending of hinges. Small weights settle them at zero.
TWIST_WEIGHT, SIDEWAYS_WEIGHT, SIZE_WEIGHT = 0.02, 0.05, 1e-4
HINGES = (2, 3, 5, 6, 8, 9, 11, 12, 15)  # MANO joints that bend about one axis: PIPs, DIPs and the thumb's IP
VERSION = 1
MAX_BYTES = 50_000_000  # of a file; the one that ships has 0.6 MB, seven layers have 6
LARGEST_WEIGHT = 1e6  # trained ones are below 100

log = logging.getLogger(__name__)


class PoseEncoder(nn.Module):
    """Four or seven linear layers; see the head of this file. The input is centred and scaled by what training saw."""

    def __init__(self, layers: Depth = 4) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(63))
        self.register_buffer("scale", torch.ones(63))
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(SIZES[layers]))
        self.norms = nn.ModuleList(nn.BatchNorm1d(size) for size in SIZES[layers][1:-1] if layers == 7)

    def forward(self, joints_m: Float[Tensor, "batch 21 3"]) -> Float[Tensor, "batch 15 3"]:
        """Rotations of the finger joints, MANO order, that make a hand point its finger bones as the joints do."""
        return self._through(joints_m.flatten(1), lambda layer, rows: layer(rows)).unflatten(1, (15, 3))

    def of_clips(self, joints_m: Float[Array, "clips frames 21 3"]) -> Float32[Array, "clips frames 15 3"]:
        """The same for whole clips, to use and not to train: each has the bits that it has alone.

        A product whose rows are all frames of all clips rounds differently with their number, and one by MKL with where the rows begin in memory. So each clip
        has its own product, by numpy's BLAS, which packs what it multiplies. On the CPU, that is: an encoder that was moved elsewhere is no use here.
        """
        clips, frames = joints_m.shape[:2]
        rows = torch.from_numpy(np.ascontiguousarray(joints_m, np.float32).reshape(clips * frames, 63))

        def each_clip(layer: nn.Linear, rows: Tensor) -> Tensor:
            products = np.matmul(rows.numpy().reshape(clips, frames, -1), layer.weight.numpy().T)
            return torch.from_numpy(products.reshape(clips * frames, -1)) + layer.bias

        with torch.no_grad():
            return self._through(rows, each_clip).numpy().reshape(clips, frames, 15, 3)

    def _through(self, rows: Float[Tensor, "rows 63"], linear: Callable[[nn.Linear, Tensor], Tensor]) -> Float[Tensor, "rows 45"]:
        hidden = (rows - self.mean) / self.scale
        if self.norms:
            for layer, norm in zip(self.layers[:-1], self.norms, strict=True):
                hidden = torch.tanh(norm(linear(layer, hidden)))
            return SCRIPT_RANGE_RAD * torch.tanh(linear(self.layers[-1], hidden))
        for layer in self.layers[:-1]:
            hidden = nn.functional.gelu(linear(layer, hidden))
        return linear(self.layers[-1], hidden)


def bone_directions(joints: Float[Tensor, "batch 21 3"]) -> Float[Tensor, "batch 15 3"]:
    """Unit directions of the finger bones."""
    starts, ends = map(list, zip(*FINGER_BONES, strict=True))
    bones = joints[:, ends] - joints[:, starts]
    return bones / bones.norm(dim=-1, keepdim=True).clamp_min(1e-9)


def model_from_hand(layer: HandLayer, betas: Float32[Array, "*shapes 10"]) -> Float[Array, "*shapes 3 3"]:
    """The rotation from the hand frame to the axes of a hand model at rest, for each shape."""
    with torch.no_grad():
        rest = layer.rest_joints(torch.as_tensor(betas.reshape(-1, 10)).to(layer.joint_template.device))
    return hand_frame(rest.double().cpu().numpy()).axes.reshape(*betas.shape[:-1], 3, 3)


def train_encoder(
    model: HandModel,
    joints_m: Float32[Array, "rows 21 3"],
    *,
    num_steps: int = NUM_STEPS,
    layers: Depth = 4,
    start: PoseEncoder | None = None,
    seed: int = 0,
    progress: Callable[[int, float], None] | None = None,
) -> PoseEncoder:
    """An encoder for a hand of mean shape and a bank: a new one of that many layers, or `start` trained further.

    One thread, so that the same bank gives the same weights whatever the machine's load. `progress` is told each step's number, from 1, and loss.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        joints, generator = torch.as_tensor(np.array(joints_m)), torch.Generator().manual_seed(seed)
        if start is None:
            return _train(model, joints, _new_encoder(joints, generator, layers), 2e-3, num_steps, generator, progress)
        return _train(model, joints, copy.deepcopy(start), 5e-4, num_steps, generator, progress)
    finally:
        torch.set_num_threads(threads)


def _train(
    model: HandModel, joints: Tensor, encoder: PoseEncoder, rate: float, num_steps: int, generator: torch.Generator, progress: Callable[[int, float], None] | None
) -> PoseEncoder:
    """Trains the encoder in place."""
    layer, encoder = HandLayer(model), encoder.train().requires_grad_(True)
    optimiser = torch.optim.AdamW(encoder.parameters(), lr=rate, weight_decay=1e-5)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, total_steps=num_steps, pct_start=0.1)
    to_hand = torch.as_tensor(model_from_hand(layer, np.zeros(10, np.float32)), dtype=torch.float32)
    axes = torch.as_tensor(joint_axes(model)[1:], dtype=torch.float32)
    for step in range(num_steps):
        target = joints[torch.randint(len(joints), (BATCH,), generator=generator)]
        loss = _loss(encoder(target), target, layer, to_hand, axes)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(encoder.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        if progress:
            progress(step + 1, float(loss.detach()))
    return encoder.eval().requires_grad_(False)


def _loss(rotations: Tensor, target: Tensor, layer: HandLayer, to_hand: Tensor, axes: Tensor) -> Tensor:
    """Squared error of bone directions, plus what keeps undetermined rotations at zero. `to_hand`: columns are the hand frame's axes in the model."""
    pose = torch.cat([torch.zeros(len(rotations), 1, 3), rotations], 1)
    made = bone_directions(layer.joints(pose, torch.zeros(len(rotations), 10))) @ to_hand
    error = ((made - bone_directions(target)) ** 2).sum(-1).mean()
    local = torch.einsum("bji,jia->bja", rotations, axes)  # components about twist, flexion and sideways axes
    hinges = [joint - 1 for joint in HINGES]
    return error + TWIST_WEIGHT * (local[..., 0] ** 2).mean() + SIDEWAYS_WEIGHT * (local[:, hinges, 2] ** 2).mean() + SIZE_WEIGHT * (rotations**2).mean()


def _new_encoder(joints: Tensor, generator: torch.Generator, layers: Depth) -> PoseEncoder:
    """Untrained, scaled to the joints; its first guess is near the rest pose."""
    encoder = PoseEncoder(layers)
    encoder.mean.copy_(joints.flatten(1).mean(0))
    encoder.scale.fill_(joints.flatten(1).std(0).mean())
    for layer in encoder.layers:
        nn.init.kaiming_normal_(layer.weight, nonlinearity="relu" if layers == 4 else "tanh", generator=generator)
        nn.init.zeros_(layer.bias)
    encoder.layers[-1].weight.data *= 0.1
    return encoder


def direction_errors_rad(encoder: PoseEncoder, model: HandModel, joints_m: Float32[Array, "rows 21 3"]) -> Float[Array, "rows 15"]:
    """Angle between each finger bone of the fitted hand of mean shape and of the joints, both in their palm's frame."""
    layer = HandLayer(model)
    to_hand = torch.as_tensor(model_from_hand(layer, np.zeros(10, np.float32)), dtype=torch.float32)
    with torch.no_grad():
        rotations = encoder(torch.as_tensor(np.array(joints_m)))
        made = bone_directions(layer.joints(torch.cat([torch.zeros(len(rotations), 1, 3), rotations], 1), torch.zeros(len(rotations), 10))) @ to_hand
        cosine = (made * bone_directions(torch.as_tensor(np.array(joints_m)))).sum(-1)
    return np.arccos(np.clip(cosine.double().numpy(), -1, 1))


def pose_statistics(poses: Float[Array, "poses 45"]) -> tuple[Float[Array, "45"], Float[Array, "45 45"]]:
    """Mean and principal components (rows, unit, largest first) of hand poses: axis-angle of joints 1..15, MANO order."""
    mean = poses.mean(0)
    components = np.linalg.svd(np.concatenate([poses - mean, np.zeros((45, 45))]), full_matrices=False)[2]
    largest = components[np.arange(45), np.abs(components).argmax(1)]
    return mean, components * np.sign(largest)[:, None]


def hand_digest(model: HandModel) -> str:
    """sha256 of what of a hand model the encoder depends on."""
    return arrays_digest(model.template_m, model.pose_directions, model.joint_regressor, model.skinning_weights, model.tip_vertices)


def load_encoder(
    model: HandModel, bank_name: str, bank_digest: str, joints_m: Float32[Array, "rows 21 3"], cache: Path, *, layers: Depth = 4, say: Callable[[str], None] = log.info
) -> PoseEncoder:
    """The encoder for a hand and a bank: the shipped one for the open hand and the built-in bank, else one trained once and kept in the cache.

    Four layers start from the shipped ones where the hand is the open one; seven start anew.
    """
    shipped = read_encoder(SHIPPED) if model.name == "open" and layers == 4 and SHIPPED.exists() else None
    if shipped is not None and bank_name == "built-in":
        return shipped
    num_steps = NUM_STEPS if shipped is None else NUM_STEPS // 3
    origin = [hand_digest(model), bank_digest, str(num_steps), "" if shipped is None else file_digest(SHIPPED)] + ["7 layers"] * (layers == 7)
    path = cache / f"encoder-v{VERSION}-{arrays_digest(np.array(origin))[:32]}.safetensors"
    try:
        return read_encoder(path)
    except UserError:  # not there, or damaged: both are mended alike
        say(f"training the pose encoder for the {model.name} hand and {bank_name}, once; about half a minute")
    write_encoder(train_encoder(model, joints_m, num_steps=num_steps, layers=layers, start=shipped), path)
    return read_encoder(path)


def write_encoder(encoder: PoseEncoder, path: Path) -> None:
    """Weights to a safetensors file, whole or not at all."""
    with written_aside(path) as aside:
        save_file({name: tensor.contiguous() for name, tensor in encoder.state_dict().items()}, aside)


def read_encoder(path: Path) -> PoseEncoder:
    """The encoder kept in a safetensors file. A UserError when it is not one."""
    try:
        if path.stat().st_size > MAX_BYTES:
            raise UserError(f"{path}: not an encoder made by `seqgen fit`: has more than {MAX_BYTES // 10**6} MB")
        state = load_file(path)
    except FileNotFoundError:
        raise UserError(f"{path}: no such encoder; `seqgen fit` makes one") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror or error}") from None
    except (SafetensorError, ValueError, LookupError, RuntimeError) as error:  # the latter of types of numbers that torch does not have
        raise UserError(f"{path}: not an encoder made by `seqgen fit`: {str(error).splitlines()[0]}") from None
    _check_state(path, state)
    return encoder_of(state)


def _check_state(path: Path, state: Mapping[str, Tensor]) -> None:
    """A UserError that names the first array which is not one of the encoder's, or not finite."""
    own = PoseEncoder(7 if "layers.6.weight" in state else 4).state_dict()
    for name in sorted(own.keys() | state.keys()):
        shapes = [str(list(tensors[name].shape)) if name in tensors else "absent" for tensors in (state, own)]
        if shapes[0] != shapes[1]:
            raise UserError(f"{path}: not an encoder made by `seqgen fit`: {name} is {shapes[0]}, expected {shapes[1]}")
        if own[name].is_floating_point() and not (state[name].double().abs() <= LARGEST_WEIGHT).all():
            raise UserError(f"{path}: not an encoder made by `seqgen fit`: {name} holds a number that is not finite, or beyond {LARGEST_WEIGHT:g}")
    if not state["scale"].all():
        raise UserError(f"{path}: not an encoder made by `seqgen fit`: scale holds a zero")


def encoder_of(state: Mapping[str, Tensor]) -> PoseEncoder:
    """The encoder of such weights, of as many layers as they are; ready to use, not to train."""
    encoder = PoseEncoder(7 if "layers.6.weight" in state else 4)
    encoder.load_state_dict(dict(state))
    return encoder.eval().requires_grad_(False)
