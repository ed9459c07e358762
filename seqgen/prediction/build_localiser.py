"""Trains the localiser that ships, from data sets of seqgen:

    python -m seqgen.prediction.build_localiser DATASET... [--steps 4000]

docs/benchmarks/localise.md says how its data sets were generated and how good it is.
"""

import argparse
import logging
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float32
from torch import Tensor

from seqgen.dataset import open_dataset
from seqgen.prediction.localise import CELLS, SHIPPED, STRIDE, HandFinder, save_localiser
from seqgen.prediction.localiser_pictures import Frames, Placed, gather_frames, place_hands

log = logging.getLogger(__name__)

BATCH = 64
LEARNING_RATE, LEAST_RATE = 3e-3, 1e-5
SPREAD = 0.2  # standard deviation of the heat around the centre, as a share of the box's side
NEAR = 0.2  # cells of at least this heat learn the box
BOX_WEIGHT = 2.0


def localiser_loss(heat: Float32[Tensor, "batch 16 16"], numbers: Float32[Tensor, "batch 16 16 4"], box: Float32[Tensor, "batch 4"]) -> Float32[Tensor, ""]:
    """How far answers are from `box` (pixels of the square; zeros where there is no hand), a picture.

    Heat: cross entropy with a soft target, weighted by the squared distance from it (Li et al., "Generalized Focal Loss", 2020, Eq. 2): there are a
    hundred times as many cells without a hand, most of them easy. Near the centre the box: smooth L1 of offsets as shares of its sides, and of logs of its sides.
    """
    wanted = heat_of(box)
    surprise = torch.nn.functional.binary_cross_entropy_with_logits(heat, wanted, reduction="none")
    focal = ((heat.sigmoid() - wanted) ** 2 * surprise).sum() / len(box)
    near = wanted * (wanted > NEAR)
    sides = ((box[:, 2:] - box[:, :2]) / STRIDE).clamp(min=0.1)[:, None, None]
    centre = (box[:, :2] + box[:, 2:])[:, None, None] / 2 / STRIDE - cell_centres()
    errors = torch.cat([(numbers[..., :2] - centre) / sides, numbers[..., 2:] - sides.log()], -1)
    distance = torch.nn.functional.smooth_l1_loss(errors, torch.zeros_like(errors), beta=0.1, reduction="none").sum(-1)
    return focal + BOX_WEIGHT * (near * distance).sum() / near.sum().clamp(min=1)


def heat_of(box: Float32[Tensor, "batch 4"]) -> Float32[Tensor, "batch 16 16"]:
    """The heat asked for: a Gaussian about the box's middle, 1 in the nearest cell; zero where there is no hand."""
    centre, sides = (box[:, :2] + box[:, 2:]) / 2 / STRIDE, (box[:, 2:] - box[:, :2]) / STRIDE
    deviation = (SPREAD * sides).clamp(min=0.6)[:, None, None]
    away = (((cell_centres() - centre[:, None, None]) / deviation) ** 2).sum(-1)
    return (-(away - away.amin((1, 2), keepdim=True)) / 2).exp() * box.any(1)[:, None, None]


def cell_centres() -> Float32[Tensor, "16 16 2"]:
    """x and y of each cell's middle, in cells."""
    ticks = torch.arange(CELLS) + 0.5
    return torch.stack(torch.meshgrid(ticks, ticks, indexing="xy"), -1)


def train_localiser(frames: Frames, network: HandFinder, *, num_steps: int, rng: np.random.Generator) -> None:
    """Trains `network` in place. The learning rate rises over the first twentieth and falls like a cosine."""
    network.to(memory_format=torch.channels_last).train()  # with bfloat16 this takes 40 % of the time
    optimiser = torch.optim.AdamW(network.parameters(), LEARNING_RATE, weight_decay=0.01)
    mean_loss = 0.0
    for step in range(num_steps):
        for group in optimiser.param_groups:
            group["lr"] = max(LEAST_RATE, LEARNING_RATE * min(1, 20 * step / num_steps, 0.5 + 0.5 * np.cos(np.pi * step / num_steps)))
        pictures = place_hands(frames, rng, num=BATCH)
        with torch.autocast("cpu", torch.bfloat16):
            answers = network(as_input(pictures))
        loss = localiser_loss(*answers, torch.as_tensor(pictures.box))
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimiser.step()
        mean_loss = 0.98 * mean_loss + 0.02 * loss.item()
        if step % 100 == 99:
            log.info("step %d of %d, loss %.3f", step + 1, num_steps, mean_loss)


def as_input(pictures: Placed) -> Tensor:
    """The pixels as the network takes them."""
    return torch.as_tensor(pictures.pixels).permute(0, 3, 1, 2)


def main() -> None:
    """Trains on the training splits and writes the asset."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("datasets", nargs="+", type=Path)
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--out", type=Path, default=SHIPPED)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    frames = gather_frames(sequence for directory in arguments.datasets for sequence in open_dataset(directory, split="train"))
    log.info("%d frames", len(frames.rgb))
    network = HandFinder()
    train_localiser(frames, network, num_steps=arguments.steps, rng=np.random.default_rng(0))
    save_localiser(network, arguments.out)


if __name__ == "__main__":
    main()
