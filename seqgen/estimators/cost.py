"""What a network costs: parameters, and multiply-accumulates (MAC) per frame of a stream."""

from typing import NamedTuple

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from seqgen.estimators.seqhand.network import SeqHandNetwork


class Cost(NamedTuple):
    """Of one network at one picture size."""

    parameters: int
    macs_per_frame: int


def num_parameters(module: nn.Module) -> int:
    """Trainable numbers of a module."""
    return sum(parameter.numel() for parameter in module.parameters())


def network_cost(network: SeqHandNetwork, *, size: int) -> Cost:
    """Parameters, and MACs of a frame of `size` x `size` pixels in the middle of a stream, when there is a memory: convolutions and matrix products only.

    The network must be on the "meta" device, where nothing is computed: on others torch runs an LSTM in one piece and does not count it.
    """
    picture = torch.zeros(1, 1, 3, size, size, device="meta")
    assert next(network.parameters()).device == picture.device, "make the network under torch.device('meta')"
    with torch.no_grad():
        _, state = network(picture)
        with FlopCounterMode(display=False) as counter:
            network(picture, state)
    return Cost(num_parameters(network), counter.get_total_flops() // 2)  # torch counts two operations a MAC
