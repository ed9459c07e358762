"""Makes what the open hand knows of poses, from the built-in bank: the encoder that ships, and the hand's mean pose and pose components.

    python -m seqgen.hand.build_open_hand          # the surface, from MakeHuman's data (extra `assets`)
    python -m seqgen.pipeline.build_open_encoder   # then this: two minutes on one core
"""

import logging
from dataclasses import replace

import numpy as np
import torch

from seqgen.hand import OPEN_HAND, load_hand
from seqgen.hand.fit import SHIPPED, direction_errors_rad, pose_statistics, train_encoder, write_encoder
from seqgen.hand.model import save_hand
from seqgen.pipeline.process import one_thread
from seqgen.poses import load_built_in_bank
from seqgen.poses.bank import PosesConfig

log = logging.getLogger(__name__)

NUM_STEPS = 20_000
STATISTICS_EVERY = 5  # bank rows that the pose components are drawn from


def main() -> None:
    """Trains, writes both files, and says how well the encoder points bones."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    hand = load_hand("open")
    bank = load_built_in_bank(PosesConfig().rows)
    with one_thread():
        encoder = train_encoder(hand, bank.joints_m, num_steps=NUM_STEPS)
        poses = encoder(torch.as_tensor(np.array(bank.joints_m[::STATISTICS_EVERY]))).flatten(1).numpy()
    mean, components = (values.astype(np.float32).round(6) for values in pose_statistics(poses.astype(float)))
    write_encoder(encoder, SHIPPED)
    save_hand(replace(hand, pose_mean=mean, pose_components=components), OPEN_HAND)
    errors = np.degrees(direction_errors_rad(encoder, hand, bank.joints_m[::7]))
    log.info("bone directions: mean error %.2f degrees, 99th percentile %.2f", errors.mean(), np.quantile(errors, 0.99))


if __name__ == "__main__":
    main()
