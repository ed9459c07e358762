"""Teaches the centre network that ships, from data sets of seqgen:

    python -m seqgen.estimators.build_centre DATASET... [--steps 5000]

docs/benchmarks/centre.md says how its data sets were generated and how good it is.
"""

import argparse
import logging
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float32, UInt8
from torch import Tensor

from seqgen.dataset import open_dataset
from seqgen.estimators.centre import SHIPPED, save_centre_network
from seqgen.estimators.centre_lessons import NOTHING, Lessons, gather_lessons
from seqgen.estimators.centre_network import CentreNetwork

log = logging.getLogger(__name__)

BATCH = 64
LEARNING_RATE, LEAST_RATE = 3e-3, 1e-5
BEND = 0.05  # half cubes, 6 mm: smaller errors count by their squares
LOOKS = 3  # at each frame
MOST_LOST = 0.3  # most of the pixels that a camera may miss
NOISE = 0.02  # half cubes, 2.5 mm: most standard deviation of the depth noise


def train_centre(lessons: Lessons, network: CentreNetwork, *, num_steps: int, generator: torch.Generator) -> None:
    """Trains `network` in place. The learning rate rises over the first twentieth and falls like a cosine."""
    network.to(memory_format=torch.channels_last).train()
    optimiser = torch.optim.AdamW(network.parameters(), LEARNING_RATE, weight_decay=0.01)
    levels, offset = torch.from_numpy(lessons.levels), torch.from_numpy(lessons.offset)
    mean_loss = 0.0
    for step in range(num_steps):
        for group in optimiser.param_groups:
            group["lr"] = max(LEAST_RATE, LEARNING_RATE * min(1, 20 * step / num_steps, 0.5 + 0.5 * np.cos(np.pi * step / num_steps)))
        chosen = torch.randint(len(levels), (BATCH,), generator=generator)
        crops, wanted = worn(levels[chosen], generator), offset[chosen]
        with torch.autocast("cpu", torch.bfloat16):
            said = network(crops)
        loss = torch.nn.functional.smooth_l1_loss(said.float(), wanted, beta=BEND)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimiser.step()
        mean_loss = 0.98 * mean_loss + 0.02 * loss.item()
        if step % 100 == 99:
            log.info("step %d of %d, loss %.4f", step + 1, num_steps, mean_loss)


def worn(levels: UInt8[Tensor, "batch side side"], generator: torch.Generator) -> Float32[Tensor, "batch 1 side side"]:
    """Crops with the noise and the missing pixels of cameras that nobody has modelled; half of the crops lose none."""
    batch = (len(levels), 1, 1)
    lost = (MOST_LOST * (2 * torch.rand(batch, generator=generator) - 1)).clamp(min=0)
    noise = NOISE * torch.rand(batch, generator=generator) * torch.randn(levels.shape, generator=generator)
    seen = (levels < NOTHING) & (torch.rand(levels.shape, generator=generator) >= lost)
    return torch.where(seen, (levels / 127.5 - 1 + noise).clamp(-1, 1), 1.0)[:, None]


def main() -> None:
    """Teaches with the training splits and writes the asset."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("datasets", nargs="+", type=Path)
    parser.add_argument("--steps", type=int, default=5000)
    parser.add_argument("--out", type=Path, default=SHIPPED)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    lessons = gather_lessons((open_dataset(directory, split="train") for directory in arguments.datasets), np.random.default_rng(0), looks=LOOKS)
    log.info("%d lessons, mean offset %.3f half cubes", len(lessons.offset), np.linalg.norm(lessons.offset, axis=1).mean())
    network = CentreNetwork()
    train_centre(lessons, network, num_steps=arguments.steps, generator=torch.Generator().manual_seed(0))
    save_centre_network(network, arguments.out)


if __name__ == "__main__":
    main()
