"""How weights are changed: the optimiser's config, the learning rate as a pure function of the step, the optimiser itself.

The SeqHAND paper names no optimiser, rate or schedule; Adam at 1e-4 with a cosine is ours. Does not know networks or data.
"""

import math
from collections.abc import Iterable
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from seqgen.config import Section


class OptimConfig(Section):
    name: Literal["adam", "adamw", "sgd"] = "adam"
    """adam; adamw, whose weight decay does not pass through the moments; or sgd with momentum"""
    lr: float = Field(1e-4, gt=0)
    """learning rate at its highest"""
    weight_decay: float = Field(0.0, ge=0)
    """weight decay"""
    momentum: float = Field(0.9, ge=0, lt=1)
    """share of the last direction that is kept: sgd's momentum, Adam's first beta"""
    beta2: float = Field(0.999, ge=0, lt=1)
    """Adam's second beta"""
    eps: float = Field(1e-8, gt=0)
    """Adam's epsilon"""
    clip_norm: float | None = Field(100.0, gt=0)
    """longest gradient, over all weights together; none: not clipped"""
    precision: Literal["float32", "bfloat16"] = "float32"
    """bfloat16: the network in mixed precision; losses, hand and weights stay float32"""
    schedule: Literal["constant", "cosine", "step"] = "cosine"
    """how the learning rate falls after the warm-up"""
    warmup: int = Field(0, ge=0)
    """steps over which the learning rate rises from zero"""
    final: float = Field(0.01, ge=0, le=1)
    """cosine: the last learning rate as a share of the highest"""
    step_every: int = Field(10_000, ge=1)
    """step: steps between two falls"""
    step_factor: float = Field(0.1, gt=0, le=1)
    """step: what each fall multiplies the learning rate with"""


def learning_rate(step: int, num_steps: int, config: OptimConfig) -> float:
    """The rate for step `step` of `num_steps`, counted from 0: a straight rise over the warm-up, then the schedule over what is left.

    Cosine: Loshchilov and Hutter 2017, equation 5, one period. It reaches `final` at the last step.
    """
    if step < config.warmup:
        return config.lr * (step + 1) / config.warmup
    since, left = step - config.warmup, max(1, num_steps - 1 - config.warmup)
    if config.schedule == "cosine":
        return config.lr * (config.final + (1 - config.final) * 0.5 * (1 + math.cos(math.pi * min(1.0, since / left))))
    if config.schedule == "step":
        return config.lr * config.step_factor ** (since // config.step_every)
    return config.lr


def make_optimiser(parameters: Iterable[nn.Parameter], config: OptimConfig) -> torch.optim.Optimizer:
    """The optimiser of these weights. One tensor at a time (`foreach` false): no second copy of all of them."""
    shared = {"lr": config.lr, "weight_decay": config.weight_decay, "foreach": False}
    if config.name == "sgd":
        return torch.optim.SGD(list(parameters), momentum=config.momentum, **shared)
    kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[config.name]
    return kind(list(parameters), betas=(config.momentum, config.beta2), eps=config.eps, **shared)


def set_learning_rate(optimiser: torch.optim.Optimizer, rate: float) -> None:
    """Sets the rate of every group: it is a function of the step, so a checkpoint need not hold it."""
    for group in optimiser.param_groups:
        group["lr"] = rate


def clip_gradients(parameters: Iterable[nn.Parameter], longest: float | None) -> Tensor:
    """Shortens the gradient of all weights together to a norm of at most `longest`; the norm it had before."""
    return nn.utils.clip_grad_norm_(list(parameters), math.inf if longest is None else longest)
