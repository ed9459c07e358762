"""The processes that train one network together: who takes which clips of a batch, and how gradients become one.

    batch of B clips ──> rank r takes clips  r B / N .. (r + 1) B / N  ──> its gradient, times its share of the clips ──> summed over ranks: the gradient of the batch

Exact where a loss is a mean over clips; over labels that only some clips have, the mean of the ranks' means is not quite the batch's. Batch normalisations see
their own rank's clips, as usual; their running statistics are averaged after each step, so that all ranks hold one network at any time. Knows
`torch.distributed`, which somebody else has started; knows no Ray. A group of one does nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import torch
from jaxtyping import Float32
from torch import Tensor, nn

from seqgen.errors import UserError
from seqgen.estimators.views.batch import Batch


@dataclass(frozen=True)
class Group:
    """This process's place among `size` of them."""

    rank: int = 0
    size: int = 1

    def part_of(self, batch: Batch) -> tuple[Batch, float]:
        """This rank's clips and which share of the batch they are. UserError when the batch has not a clip for each rank."""
        if self.size == 1:
            return batch, 1.0
        num_clips = len(batch.keys)
        if num_clips < self.size:
            raise UserError(f"run.train_workers = {self.size}: there is a batch of {num_clips} clips only; give more clips or fewer workers")
        chosen = slice(self.rank * num_clips // self.size, (self.rank + 1) * num_clips // self.size)
        parts = {field.name: getattr(batch, field.name)[chosen] for field in fields(batch) if getattr(batch, field.name) is not None}
        return replace(batch, **parts), (chosen.stop - chosen.start) / num_clips

    def sum_gradients(self, parameters: Sequence[nn.Parameter], loss: Float32[Tensor, ""]) -> Float32[Tensor, ""]:
        """The gradients of all ranks, added, on every rank, where none counts as zero; and so their losses, so that all see when one is not finite."""
        if self.size == 1:
            return loss
        gradients = [torch.zeros_like(parameter) if parameter.grad is None else parameter.grad for parameter in parameters]
        total_loss, *totals = self._summed([loss.detach(), *gradients])
        for parameter, total in zip(parameters, totals, strict=True):
            parameter.grad = total
        return total_loss

    def average_statistics(self, module: nn.Module) -> None:
        """The mean over ranks of what normalisations have counted, on every rank."""
        if self.size == 1:
            return
        norms = [norm for norm in module.modules() if isinstance(norm, nn.modules.batchnorm._BatchNorm) and norm.training and norm.track_running_stats]
        counted = [statistic for norm in norms for statistic in (norm.running_mean, norm.running_var)]
        for statistic, total in zip(counted, self._summed(counted), strict=True):
            statistic.copy_(total / self.size)

    def sum_values(self, values: dict[str, float]) -> dict[str, float]:
        """Each number, added over ranks; a rank without one adds zero."""
        if self.size == 1:
            return values
        gathered: list[dict[str, float]] = [{}] * self.size
        torch.distributed.all_gather_object(gathered, values)
        names = dict.fromkeys(name for one in gathered for name in one)
        return {name: sum(one.get(name, 0.0) for one in gathered) for name in names}

    def share_state(self, module: nn.Module) -> None:
        """Rank 0's parameters and buffers, on every rank."""
        if self.size > 1:
            for tensor in module.state_dict().values():
                plain = tensor.contiguous()
                torch.distributed.broadcast(plain, 0)
                tensor.copy_(plain)

    def agree(self, value: float | None) -> float | None:
        """Rank 0's number, on every rank."""
        if self.size == 1:
            return value
        box = [value]
        torch.distributed.broadcast_object_list(box, 0)
        return box[0]

    def _summed(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """The tensors added over ranks, in one message."""
        if not tensors:
            return []
        flat = torch.cat([tensor.flatten() for tensor in tensors])
        torch.distributed.all_reduce(flat)
        parts = flat.split([tensor.numel() for tensor in tensors])
        return [torch.empty_like(tensor).copy_(part.view(tensor.shape)) for tensor, part in zip(tensors, parts, strict=True)]


ALONE = Group()
