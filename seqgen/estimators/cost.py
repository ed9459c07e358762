"""What a network costs: parameters, and multiply-accumulates (MAC) per frame, of convolutions and matrix products.

    config -> the network of that config on the "meta" device, which has shapes and no numbers -> what torch counts of a frame of `input`

So nothing is computed, read or drawn. SeqHAND is counted without its hand, whose joints are 0.1 % of a ResNet-18's work, and in the middle of a stream, when
there is a memory. Does not know: time, memory, checkpoints.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from seqgen.config import Section
from seqgen.estimators import ESTIMATORS
from seqgen.estimators.seqhand.estimator import SeqHandConfig
from seqgen.estimators.seqhand.network import SeqHandNetwork
from seqgen.estimators.seqhand.parametric_hand import NUMBERS_OF_ROTATION
from seqgen.estimators.views.crop import InputConfig
from seqgen.estimators.views.feed import Input
from seqgen.estimators.views.view import View


class Cost(NamedTuple):
    """Of one network and one input."""

    parameters: int
    macs_per_frame: int


def num_parameters(module: nn.Module) -> int:
    """Trainable numbers of a module."""
    return sum(parameter.numel() for parameter in module.parameters())


def num_macs(work: Callable[[], object]) -> int:
    """Multiply-accumulates of a piece of work. On the CPU torch runs an LSTM in one piece and counts nothing of it."""
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        work()
    return counter.get_total_flops() // 2  # torch counts two operations a MAC


def network_cost(config: Section, input: Input) -> Cost:
    """Of the estimator of a config (of one of ESTIMATORS), by what it is shown."""
    with torch.device("meta"):
        view = blank_view(input)
        if isinstance(config, SeqHandConfig):
            return _stream_cost(config, view.rgb.float())
        estimator = ESTIMATORS[config.name].estimator(config).eval()
        return Cost(num_parameters(estimator), num_macs(lambda: estimator.stages_of(view)))


def blank_view(input: Input, *, clips: int = 1) -> View:
    """One frame of nothing of each of some clips, on torch's device of the moment."""
    if isinstance(input, InputConfig):
        shown = {"rgb": torch.zeros(clips, 1, 3, input.size, input.size, dtype=torch.uint8)}
    elif input.kind == "depth":
        shown = {"depth": torch.ones(clips, 1, input.size, input.size)}
    else:
        shown = {"points": torch.zeros(clips, 1, input.num_points, 3)}
    eye = torch.eye(3).expand(clips, 1, 3, 3)
    place = {"centre_m": torch.zeros(clips, 1, 3), "cube_m": torch.ones(clips, 1), "usable": torch.ones(clips, 1, dtype=torch.bool)}
    return View(**shown, **place, crop_from_picture=eye, intrinsics=eye, perspective=torch.ones(clips, dtype=torch.bool))


def _stream_cost(config: SeqHandConfig, clip: Tensor) -> Cost:
    """Of SeqHAND's network, on a frame that has one before it."""
    numbers = 3 + NUMBERS_OF_ROTATION[config.rotation] + config.pose_components + 10  # camera, rotation, pose, betas
    sizes = {"width": config.width, "reduce": config.reduce, "hidden": config.hidden}
    network = SeqHandNetwork(config.backbone, config.temporal, **sizes, num_numbers=numbers).eval()
    with torch.no_grad():
        _, state = network(clip)
    return Cost(num_parameters(network), num_macs(lambda: network(clip, state)))
