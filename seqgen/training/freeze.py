"""Parts of an estimator that training leaves as they are, down to the running statistics of their normalisations.

The SeqHAND paper freezes the ConvLSTM while it moves to real data ("Train_C" of Table 3): the motion stays as learned, the look is learned anew.
"""

from collections.abc import Sequence

from torch import nn

from seqgen.errors import UserError


def freeze(estimator: nn.Module, names: Sequence[str]) -> list[nn.Parameter]:
    """Switches the gradients of the named parts off, those of all others on; the parameters that are left to learn. UserError for an unknown part, or when nothing is left."""
    parts = estimator.parts()
    unknown = [name for name in names if name not in parts]
    if unknown:
        raise UserError(f"run.freeze: {estimator.config.name} has no part {unknown[0]!r}; it has {', '.join(parts)}")
    estimator.requires_grad_(True)
    for name in names:
        parts[name].requires_grad_(False)
    learning = [parameter for parameter in estimator.parameters() if parameter.requires_grad]
    if not learning:
        raise UserError(f"run.freeze: {', '.join(names)} is all there is; leave a part to learn")
    return learning


def training_mode(estimator: nn.Module, frozen: Sequence[str]) -> None:
    """`train()` for all but the frozen parts: a batch normalisation in training mode would go on averaging.

    Recurrent layers of torch stay in it even there: cuDNN gives no gradients through them in `eval` mode, and without dropout both modes are one.
    """
    estimator.train()
    for name in frozen:
        part = estimator.parts()[name].eval()
        for module in part.modules():
            if isinstance(module, nn.RNNBase) and not module.dropout:
                module.train()
