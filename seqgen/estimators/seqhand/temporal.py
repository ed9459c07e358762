"""Recurrent layers over clips: a convolutional LSTM over feature maps (Shi et al., NeurIPS 2015) and an LSTM over feature vectors.

    features (B,T,C,...) and the memory of the frames before, None at a clip's start -> hidden (B,T,D,...), memory after the last frame

Running a clip frame by frame, giving each call the memory of the one before, says the same as running it at once. A start is a memory of zeros.
Both have a forget bias of 1 (Jozefowicz et al., ICML 2015): at first they remember. Neither has normalisation layers, so frozen weights mean a frozen layer.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import conv2d

Memory = tuple[Tensor, Tensor]  # hidden and cell state


class ConvLstm(nn.Module):
    """One convolutional LSTM, without the peephole products of Shi et al.:

        [i, f, o, g] = conv(cat(x, h)) + b,  c = sigmoid(f) c + sigmoid(i) tanh(g),  h = sigmoid(o) tanh(c)

    The convolution's weight is of the published form, (4 D, C + D, k, k), but the products with x, which need no memory, are made for all frames at once.
    Gates and memory are float32, also under autocast, so that long streams do not gather rounding.
    """

    def __init__(self, channels: int, hidden: int, *, kernel: int = 3) -> None:
        super().__init__()
        assert kernel % 2 == 1, kernel
        self.channels, self.hidden = channels, hidden
        self.gates = nn.Conv2d(channels + hidden, 4 * hidden, kernel, padding=kernel // 2)
        with torch.no_grad():
            self.gates.bias.zero_()
            self.gates.bias[hidden : 2 * hidden] = 1.0

    def forward(
        self, features: Float[Tensor, "clips frames channels rows columns"], memory: Memory | None = None
    ) -> tuple[Float[Tensor, "clips frames hidden rows columns"], Memory]:
        """Hidden states of every frame, and the memory after the last; a memory is two tensors (clips, hidden, rows, columns)."""
        if features.shape[1] == 1 and memory is not None:  # one product, whose weights need not be taken apart
            memory = self._advance(self.gates(torch.cat([features[:, 0], memory[0]], 1)).float(), memory[1])
            return memory[0][:, None], memory
        padding = self.gates.padding
        of_input, of_hidden = self.gates.weight.split([self.channels, self.hidden], 1)
        from_input = conv2d(features.flatten(0, 1), of_input, self.gates.bias, padding=padding).unflatten(0, features.shape[:2])
        outputs = []
        for gates in from_input.float().unbind(1):
            if memory is not None:  # else h is zero, and so is its part
                gates = gates + conv2d(memory[0], of_hidden, padding=padding).float()
            memory = self._advance(gates, None if memory is None else memory[1])
            outputs.append(memory[0])
        return torch.stack(outputs, 1), memory

    def _advance(self, gates: Float[Tensor, "clips gates rows columns"], cell: Tensor | None) -> Memory:
        into, keep, out, new = gates.chunk(4, 1)
        added = torch.sigmoid(into) * torch.tanh(new)
        cell = added if cell is None else torch.sigmoid(keep) * cell + added
        return torch.sigmoid(out) * torch.tanh(cell), cell


class Lstm(nn.Module):
    """torch's LSTM (gates in the order i, f, g, o and two biases) over vectors, with the memory passed as above."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(channels, hidden, batch_first=True)
        with torch.no_grad():
            self.lstm.bias_ih_l0.zero_()
            self.lstm.bias_hh_l0.zero_()
            self.lstm.bias_ih_l0[hidden : 2 * hidden] = 1.0

    def forward(self, features: Float[Tensor, "clips frames channels"], memory: Memory | None = None) -> tuple[Float[Tensor, "clips frames hidden"], Memory]:
        """Hidden states of every frame, and the memory after the last; a memory is two tensors (1, clips, hidden)."""
        return self.lstm(features, memory)
