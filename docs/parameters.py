"""What SeqHAND-Net and its rivals cost: `python docs/parameters.py` writes docs/results/seqhand_parameters.md. Counts only, nothing is trained; seconds."""

from pathlib import Path

import torch
from page import table

from seqgen.estimators.cost import Cost, network_cost, num_parameters
from seqgen.estimators.resnet import ARCHITECTURES
from seqgen.estimators.seqhand.estimator import SeqHandConfig
from seqgen.estimators.seqhand.network import SeqHandNetwork
from seqgen.estimators.views.crop import InputConfig

RESULT = Path(__file__).parent / "results" / "seqhand_parameters.md"
VARIANTS = ("none", "lstm", "convlstm", "i3d", "motion")
# Yang et al., ECCV 2020, Table 2, in millions
PUBLISHED = {
    ("resnet50", "none"): 28.8,
    ("resnet101", "none"): 47.8,
    ("resnet50", "i3d"): 31.5,
    ("resnet50", "motion"): 41.7,
    ("resnet50", "lstm"): 39.3,
    ("resnet50", "convlstm"): 43.2,
}
SMALL = {"width": 0.5, "size": 112}

PAGE = """# What SeqHAND-Net and its rivals cost

Written by `python docs/parameters.py`; `tests/test_seqhand.py` holds the counts that the paper gives to within 1 %.

Millions of parameters, and multiply-accumulates of a frame of a stream (billions at 224 px): convolutions and matrix products. The designs are drawn in
`seqgen/estimators/seqhand/network.py`.

## Table 2 of the paper

{published}

The paper prints totals only. The first three designs are those whose parts add up to its totals; no natural ConvLSTM does, and this is the nearest plain one.
Its I3D and MFNet encoders are described by their names alone: ours inflate the stem and one kernel of every two blocks to three frames (Wang et al., CVPR 2018),
and add differences of frames under five shifts after each of the four layers (Lee et al., ECCV 2018), both looking backwards only. Their totals are not fitted.
A ResNet-50 without a head has 4.087 billion multiply-accumulates, a ResNet-101 7.799.

## All variants, 224 px

{full}

## All variants at half width, 112 px

Millions of multiply-accumulates.

{small}
"""


def write() -> None:
    """The page."""
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(PAGE.format(published=published_table(), full=full_table(), small=small_table()), encoding="utf-8")


def cost_of(backbone: str, variant: str, *, width: float = 1.0, size: int = 224) -> Cost:
    """Of one network, on pictures of `size` x `size`."""
    return network_cost(SeqHandConfig(backbone=backbone, temporal=variant, width=width), InputConfig(size=size))


def published_table() -> str:
    """Ours beside the paper's."""
    rows = []
    for (backbone, variant), paper in PUBLISHED.items():
        cost = cost_of(backbone, variant)
        ours = cost.parameters / 1e6
        rows.append((f"{backbone}, {variant}", f"{paper:.1f}", f"{ours:.3f}", f"{100 * (ours / paper - 1):+.1f} %", f"{cost.macs_per_frame / 1e9:.3f}"))
    return table(("network", "paper, M", "ours, M", "difference", "GMAC a frame"), rows)


def full_table() -> str:
    """Every backbone with every variant, by parts."""
    rows = []
    for backbone in ARCHITECTURES:
        for variant in VARIANTS:
            with torch.device("meta"):
                parts = SeqHandNetwork(backbone, variant).parts()
            counts = [f"{num_parameters(parts[name]) / 1e6:.3f}" if name in parts else "-" for name in ("encoder", "temporal", "head")]
            cost = cost_of(backbone, variant)
            rows.append((backbone, variant, *counts, f"{cost.parameters / 1e6:.3f}", f"{cost.macs_per_frame / 1e9:.3f}"))
    return table(("backbone", "temporal", "encoder, M", "temporal, M", "head, M", "all, M", "GMAC a frame"), rows)


def small_table() -> str:
    """The sizes for two cores."""
    rows = []
    for backbone in ("resnet18", "resnet50"):
        for variant in VARIANTS:
            cost = cost_of(backbone, variant, **SMALL)
            rows.append((backbone, variant, f"{cost.parameters / 1e6:.3f}", f"{cost.macs_per_frame / 1e6:.0f}"))
    return table(("backbone", "temporal", "parameters, M", "MMAC a frame"), rows)


if __name__ == "__main__":
    write()
