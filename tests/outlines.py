"""Outlines of the open hand for placing: a few gentle motions, about the wrist, fingers along y and the back of the hand along z."""

from functools import lru_cache

import numpy as np
import torch

from seqgen.hand import load_hand
from seqgen.hand.fit import model_from_hand
from seqgen.hand.layer import HandLayer

NUM_MOTIONS = 12


@lru_cache
def motions(frames):
    """(NUM_MOTIONS, frames, vertices, 3): hands of several shapes, each between two poses."""
    layer, generator = HandLayer(load_hand("open")), torch.Generator().manual_seed(0)
    way = torch.linspace(0, 1, frames)[:, None, None]
    found = []
    for _ in range(NUM_MOTIONS):
        start, change = 0.25 * torch.randn(16, 3, generator=generator), 0.06 * torch.randn(16, 3, generator=generator)
        pose, betas = start + way * change, torch.randn(10, generator=generator)
        pose[:, 0] = 0
        mesh = layer(pose, betas.expand(frames, 10), torch.zeros(frames, 3))
        found.append((mesh.vertices_m - mesh.joints_m[:, :1]).numpy() @ model_from_hand(layer, betas.numpy()))
    return np.stack(found)


def outline_of(view, seed):
    """One of the motions as a view turns it, vertices about the wrist in the camera frame."""
    return np.einsum("tij,tvj->tvi", view.camera_from_hand, motions(len(view.camera_from_hand))[seed % NUM_MOTIONS])
