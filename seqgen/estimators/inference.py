"""Estimators made ready to predict: the same answers, up to rounding, in less time. What comes out cannot be trained, saved or loaded.

    convolution, batch normalisation        -> one convolution: in evaluation, normalisation is a scale and a shift of each channel
    weights of convolutions, linear layers  -> laid out once in memory as oneDNN, torch's library for products on processors, reads them

As torch calls oneDNN, weights of convolutions are laid out anew in every call, which for one picture at a time takes as long as the convolution itself; small
maps and linear layers do not go there at all but to MKL, which on processors of other makers than its own does without their widest instructions.
What it brings is in `docs/benchmarks/networks.md`.

Normalisation after linear layers stays where it is: HandR2N2 makes it part of them by itself. Does not know: which networks there are.
"""

import copy
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval


def for_inference(estimator: nn.Module) -> nn.Module:
    """A copy in `eval` mode, on the same device, whose outputs are the estimator's to 1e-5 of their size; without gradients. The estimator stays as it is.

    In all networks here the batch normalisation after a convolution is its neighbour in the module that holds both.
    """
    ready = copy.deepcopy(estimator).eval().requires_grad_(False)
    for parent in list(ready.modules()):
        _fold(parent)
        for name, layer in list(parent.named_children()):
            laid_out = {nn.Conv2d: LaidOutConvolution, nn.Linear: LaidOutLinear}.get(type(layer))
            if laid_out is not None:
                setattr(parent, name, laid_out(layer))
    return ready


def _fold(parent: nn.Module) -> None:
    """Makes batch normalisations part of the convolutions before them, of these children."""
    for (name, layer), (norm_name, norm) in pairwise(list(parent.named_children())):
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d) and isinstance(norm, nn.BatchNorm2d):
            folded = fuse_conv_bn_eval(layer, norm, transpose=isinstance(layer, nn.ConvTranspose2d))
            setattr(parent, name, folded.requires_grad_(False))
            setattr(parent, norm_name, nn.Identity())


class KeptLayout:
    """For layers: their weights as oneDNN wants them for inputs of one shape, kept until another shape comes."""

    _kept: tuple[torch.Size, Tensor] | None = None

    def weight_for(self, values: Tensor) -> Tensor:
        """Opaque to all but oneDNN's operations."""
        kept = self._kept
        if kept is None or kept[0] != values.shape:
            kept = self._kept = values.shape, self.lay_out(values)
        return kept[1]


class LaidOutConvolution(KeptLayout, nn.Conv2d):
    """The same convolution, by oneDNN where that can be."""

    def __init__(self, convolution: nn.Conv2d) -> None:
        sizes = {name: getattr(convolution, name) for name in ("kernel_size", "stride", "padding", "dilation", "groups")}
        super().__init__(convolution.in_channels, convolution.out_channels, **sizes, bias=convolution.bias is not None, device="meta")
        self.weight, self.bias = convolution.weight, convolution.bias
        self.how = (self.padding, self.stride, self.dilation, self.groups)

    def forward(self, maps: Float[Tensor, "batch channels_in rows columns"]) -> Float[Tensor, "batch channels_out new_rows new_columns"]:
        """What the convolution gives."""
        if not _suits_onednn(maps):
            return super().forward(maps)
        return torch.ops.mkldnn._convolution_pointwise(maps, self.weight_for(maps), self.bias, *self.how, "none", [], "")

    def lay_out(self, maps: Tensor) -> Tensor:
        """The weights for such maps."""
        return torch._C._nn.mkldnn_reorder_conv2d_weight(self.weight.contiguous().to_mkldnn(), *self.how, maps.shape)


class LaidOutLinear(KeptLayout, nn.Linear):
    """The same linear layer, by oneDNN where that can be."""

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__(layer.in_features, layer.out_features, bias=layer.bias is not None, device="meta")
        self.weight, self.bias = layer.weight, layer.bias

    def forward(self, values: Float[Tensor, "*shape features_in"]) -> Float[Tensor, "*shape features_out"]:
        """What the layer gives."""
        if not _suits_onednn(values):
            return super().forward(values)
        return torch.ops.mkldnn._linear_pointwise(values, self.weight_for(values), self.bias, "none", [], "")

    def lay_out(self, values: Tensor) -> Tensor:
        """The weights for so many rows."""
        return torch.ops.mkldnn._reorder_linear_weight(self.weight.contiguous(), values.shape[:-1].numel())


def _suits_onednn(values: Tensor) -> bool:
    """Whether they are on a processor in single precision, and this torch has oneDNN, not switched off."""
    return values.device.type == "cpu" and values.dtype == torch.float32 and torch.backends.mkldnn.is_available() and torch.backends.mkldnn.enabled
