"""HandR2N2 (Cheng and Ko, ICCV 2023): joints from a point cloud, read off it once and then moved again and again by one recurrent unit.

    points (N,P,3) -> hashed order -> set convolution (N,512,128) -> set convolution (N,128,256) -> maximum (N,512) -> bias-induced layers -> S_0 (N,J,256)
    J_0 = linear(S_0)                                                                                                             joints (N,J,3)

    S' = graph(S)                                            what joints know of each other
    f_k = [feature, p_k - j]                                 of the K nearest of the 512 points, for each joint
    r_k = sigmoid(MLP_r[S', f_k])                            attentive: one for each point; conventional: their maximum before the last layer
    z = sigmoid(MLP_z[S', f_k]), h = act(MLP_h[r_k S', f_k]) maximum over K before the last layer
    S_i = (1 - z) S' + z h,  J_i = J_{i-1} + linear(S_i - S_{i-1})

Input and output share one normalised space, the crop's cube of about one around zero; radii are in it too. What the equations leave open follows the published
code: leaky ReLU everywhere (in h as well, where Eq. 4 has tanh: `candidate_activation`), biases, batch normalisation in all that comes before S_0 and nowhere else.

The first layers of gates and set convolutions are linear in f_k: W [f, p - j] = W [f, p] - W_p j. So W [f, p] is worked out for every point, not for every
group, in the gates once for all iterations; likewise maxima are taken before the activations, which rise. Both change nothing but rounding.

The published code groups the first points of a ball in the order in which they come, which is random there. Here they are first put into an order as good as
random that depends on the points alone (`points.hashed_order`), in training and after, so joints do not depend on the order of the points; `point_order="given"`
leaves them as they come, as published. Knows nothing of depth images, crops and metres.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import leaky_relu, linear

from seqgen.estimators.points import ball_query, farthest_point_sampling, gather, hashed_order, nearest_neighbours

Gates = Literal["attentive", "conventional", "none"]
GraphKind = Literal["channel_wise", "shared", "none"]
GraphInit = Literal["near_identity", "official"]
CandidateActivation = Literal["leaky_relu", "tanh"]
PointOrder = Literal["hashed", "given"]

LEAK = 0.1
NEAR_IDENTITY_STD = 0.01
GROUPS_IN_CACHE = 128  # of 64 points with 128 channels: four megabytes

State = Float[Tensor, "batch joints hidden"]
Joints = Float[Tensor, "batch joints 3"]


@dataclass(frozen=True)
class Encoded:
    """What iterations need of a cloud: the points left, W [f, p] + b of each in the first layer of each gate, and where to start."""

    points: Float[Tensor, "batch centres 3"]
    gate_inputs: dict[str, Float[Tensor, "batch centres hidden"]]
    state: State
    joints: Joints


class HandR2N2Network(nn.Module):
    """The network drawn above, with the paper's sizes by default; the published counts hold for them.

    Ablations of Tables 2 and 3: `gates` ("none": S_i = h, with r = 1), `graph` ("shared": one matrix for all channels, "none": S' = S) and `residual` (without
    it J_i = linear(S_i)). `graph_init`: the published matrices start as N(0, 1), which multiplies states by the root of J; ours start near the identity.
    `neighbours`: K. `num_centres`, `radii` and `group_size`: the points that each set convolution leaves, and the balls around them.
    """

    def __init__(
        self,
        num_joints: int,
        *,
        neighbours: int = 48,
        gates: Gates = "attentive",
        graph: GraphKind = "channel_wise",
        residual: bool = True,
        candidate_activation: CandidateActivation = "leaky_relu",
        graph_init: GraphInit = "near_identity",
        point_order: PointOrder = "hashed",
        num_centres: tuple[int, int] = (512, 128),
        radii: tuple[float, float] = (0.1, 0.3),
        group_size: int = 64,
        local_channels: int = 128,
        hidden: int = 256,
    ) -> None:
        super().__init__()
        if neighbours > num_centres[0]:
            raise ValueError(f"{neighbours} neighbours asked for among {num_centres[0]} points")
        self.point_order, self.residual = point_order, residual
        self.local_encoder = SetConvolution(num_centres[0], radii[0], group_size, (3, 32, 32, local_channels))
        self.global_encoder = SetConvolution(num_centres[1], radii[1], group_size, (local_channels, 64, 64, 256))
        self.pooling = PooledPerceptron((256 + 3, 128, 128, 512))
        self.bias_induced = nn.Sequential(*(BiasInducedLayer(*widths, num_joints) for widths in pairwise((512, hidden, hidden, hidden))))
        self.first_regressor = nn.Linear(hidden, 3)
        evolution = nn.Identity() if graph == "none" else JointGraph(num_joints, hidden, channel_wise=graph == "channel_wise", init=graph_init)
        self.unit = RecurrentUnit(evolution, local_channels, hidden, neighbours=neighbours, gates=gates, activation=candidate_activation)
        self.regressor = nn.Linear(hidden, 3)

    def forward(self, points: Float[Tensor, "batch points 3"], iterations: int) -> list[Joints]:
        """Joints before the first and after each of the iterations, the last the answer; ValueError for fewer than none."""
        if iterations < 0:
            raise ValueError(f"{iterations} iterations asked for")
        encoded = self.encode(points)
        state, joints = encoded.state, [encoded.joints]
        for _ in range(iterations):
            state, moved = self.iterate(encoded, state, joints[-1])
            joints.append(moved)
        return joints

    def encode(self, points: Float[Tensor, "batch points 3"]) -> Encoded:
        """All that is done once, for clouds of any number of points; where they are fewer than the centres, one of them is repeated."""
        if self.point_order == "hashed":
            points = gather(points, hashed_order(points))
        centres, features = self.local_encoder(points, points)
        code = self.pooling(torch.cat(self.global_encoder(centres, features), -1))
        state = self.bias_induced(code[:, None]).to(points.dtype)
        gate_inputs = {name: gate.of_points(centres, features) for name, gate in self.unit.gates.items()}
        with _full_precision(points):
            return Encoded(centres, gate_inputs, state, self.first_regressor(state))

    def iterate(self, encoded: Encoded, state: State, joints: Joints) -> tuple[State, Joints]:
        """One more iteration: the next state and joints."""
        new_state = self.unit(encoded, state, joints)
        with _full_precision(state):
            return new_state, (joints + self.regressor(new_state - state) if self.residual else self.regressor(new_state))


class RecurrentUnit(nn.Module):
    """From S_{i-1} and the points around J_{i-1} to S_i, the same in all iterations. `graph`: from S to S'."""

    def __init__(self, graph: nn.Module, channels: int, hidden: int, *, neighbours: int, gates: Gates, activation: CandidateActivation) -> None:
        super().__init__()
        self.graph, self.neighbours, self.attentive = graph, neighbours, gates == "attentive"
        self.activation = torch.tanh if activation == "tanh" else _rise
        self.gates = nn.ModuleDict({name: Gate(channels, hidden) for name in (("h",) if gates == "none" else ("h", "z", "r"))})

    def forward(self, encoded: Encoded, state: State, joints: Joints) -> State:
        """The next state. All tensors within: (batch, joints, neighbours or 1, hidden)."""
        near = nearest_neighbours(encoded.points, joints, self.neighbours)
        around = {name: gather(inputs, near) for name, inputs in encoded.gate_inputs.items()}
        with _full_precision(state):  # what is rounded here would pass for a step from state to state
            evolved = self.graph(state)[..., None, :]
        if "r" not in self.gates:
            return self.activation(self.gates["h"](around["h"], joints, evolved)).to(state.dtype).squeeze(-2)
        r = self.gates["r"](around["r"], joints, evolved, pool=not self.attentive).to(state.dtype).sigmoid()
        z = self.gates["z"](around["z"], joints, evolved).to(state.dtype).sigmoid()
        h = self.activation(self.gates["h"](around["h"], joints, r * evolved)).to(state.dtype)
        return torch.lerp(evolved, h, z).squeeze(-2)


class Gate(nn.Module):
    """[S', f_k] through three layers, before the last of which all points of a group may become their maximum; no activation after the last."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.of_point = nn.Linear(channels + 3, hidden)
        self.of_state = nn.Linear(hidden, hidden, bias=False)
        self.second = nn.Linear(hidden, hidden)
        self.last = nn.Linear(hidden, hidden)

    def of_points(self, points: Float[Tensor, "batch points 3"], features: Float[Tensor, "batch points channels"]) -> Float[Tensor, "batch points hidden"]:
        """W [f, p] + b of the first layer."""
        with _full_precision(points):
            return self.of_point(torch.cat([features, points], -1))

    def forward(
        self, around: Float[Tensor, "batch joints neighbours hidden"], joints: Joints, state: Float[Tensor, "batch joints group hidden"], *, pool: bool = True
    ) -> Float[Tensor, "batch joints rows hidden"]:
        """`around`: `of_points` of each joint's points. `state`: one for each of them or one for all; `pool` makes the result one for all."""
        with _full_precision(joints):
            of_joints = linear(joints, self.of_point.weight[:, -3:])[..., None, :]
        inner = self.second(_rise_in_place(around + (self.of_state(state) - of_joints)))
        return self.last(_rise(inner.amax(-2, keepdim=True)) if pool else _rise_in_place(inner))


class JointGraph(nn.Module):
    """S' = act((A S) W + b), where A mixes the joints, each channel by a matrix of its own or all by one."""

    def __init__(self, num_joints: int, hidden: int, *, channel_wise: bool, init: GraphInit) -> None:
        super().__init__()
        self.adjacency = nn.Parameter(torch.empty(hidden if channel_wise else 1, num_joints, num_joints))
        nn.init.normal_(self.adjacency, std=1.0 if init == "official" else NEAR_IDENTITY_STD)
        if init == "near_identity":
            self.adjacency.data += torch.eye(num_joints)
        self.mix_channels = nn.Linear(hidden, hidden)

    def forward(self, state: State) -> State:
        """The evolved state."""
        return _rise(self.mix_channels(torch.einsum("ckj,bjc->bkc", self.adjacency.expand(state.shape[-1], -1, -1), state)))


class SetConvolution(nn.Module):
    """Points spread over a cloud, each with the maximum of what a perceptron makes of [features, p - centre] of the points in a ball around it."""

    def __init__(self, num_centres: int, radius: float, group_size: int, widths: tuple[int, ...]) -> None:
        """`widths`: channels of the features and of each layer."""
        super().__init__()
        self.num_centres, self.radius, self.group_size = num_centres, radius, group_size
        self.first = NormalisedLinear(widths[0] + 3, widths[1])
        self.rest = PooledPerceptron(widths[1:])

    def forward(
        self, points: Float[Tensor, "batch points 3"], features: Float[Tensor, "batch points channels"]
    ) -> tuple[Float[Tensor, "batch centres 3"], Float[Tensor, "batch centres wider"]]:
        """Centres and their features."""
        centres = gather(points, farthest_point_sampling(points, self.num_centres))
        inside = ball_query(points, centres, self.radius, self.group_size)
        with _full_precision(points):
            weight, bias = self.first.weight_and_bias()
            of_points, of_centres = linear(torch.cat([features, points], -1), weight, bias), linear(centres, weight[:, -3:])
        all_at_once = self.training or points.is_cuda  # normalisation in training is over all groups; else a processor's cache holds but some
        at_once = self.num_centres if all_at_once else max(1, GROUPS_IN_CACHE // len(points))
        parts = zip(inside.split(at_once, 1), of_centres.split(at_once, 1), strict=True)
        return centres, torch.cat([self._features_of(of_points, *part) for part in parts], 1)

    def _features_of(
        self, of_points: Float[Tensor, "batch points channels"], inside: Int[Tensor, "batch groups members"], of_centres: Float[Tensor, "batch groups channels"]
    ) -> Float[Tensor, "batch groups wider"]:
        """Of some groups, from what points and centres are in the first layer."""
        with _full_precision(of_points):
            around = self.first.normalised(gather(of_points, inside) - of_centres[..., None, :])
        return self.rest(_rise_in_place(around))


class PooledPerceptron(nn.Module):
    """Layers with batch normalisation and their activation, and the maximum over the members of a group."""

    def __init__(self, widths: tuple[int, ...]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(NormalisedLinear(*pair) for pair in pairwise(widths))

    def forward(self, members: Float[Tensor, "*groups members channels"]) -> Float[Tensor, "*groups wider"]:
        """One vector a group."""
        for layer in self.layers[:-1]:
            members = _rise_in_place(layer(members))
        return _rise(self.layers[-1](members).amax(-2))


class NormalisedLinear(nn.Module):
    """A linear layer without bias and batch normalisation over all that is not channels; in evaluation, the second is made part of the first."""

    def __init__(self, channels_in: int, channels: int) -> None:
        super().__init__()
        self.linear = nn.Linear(channels_in, channels, bias=False)
        self.norm = nn.BatchNorm1d(channels)

    def forward(self, values: Float[Tensor, "*shape channels"]) -> Float[Tensor, "*shape other"]:
        """Layer and normalisation."""
        return self.normalised(linear(values, *self.weight_and_bias()))

    def weight_and_bias(self) -> tuple[Tensor, Tensor | None]:
        """Of the linear layer that `normalised` ends."""
        if self.training:
            return self.linear.weight, None
        scale = self.norm.weight * (self.norm.running_var + self.norm.eps).rsqrt()
        return self.linear.weight * scale[:, None], self.norm.bias - scale * self.norm.running_mean

    def normalised(self, values: Float[Tensor, "*shape channels"]) -> Float[Tensor, "*shape channels"]:
        """What is left of the normalisation."""
        return self.norm(values.flatten(0, -2)).view_as(values) if self.training else values


class BiasInducedLayer(nn.Module):
    """A layer whose bias is each joint's own, so that one vector given becomes one for every joint; with batch normalisation and activation."""

    def __init__(self, channels_in: int, channels: int, num_joints: int) -> None:
        super().__init__()
        self.linear = nn.Linear(channels_in, channels, bias=False)
        self.joint_bias = nn.Parameter(torch.empty(num_joints, channels))
        self.norm = nn.BatchNorm1d(channels)
        nn.init.normal_(self.joint_bias)

    def forward(self, state: Float[Tensor, "batch rows channels"]) -> Float[Tensor, "batch joints other"]:
        """`state`: one row, or one for each joint."""
        biased = self.linear(state) + self.joint_bias
        return _rise(self.norm(biased.flatten(0, 1)).view_as(biased))


def _rise(values: Tensor) -> Tensor:
    return leaky_relu(values, LEAK)


def _rise_in_place(values: Tensor) -> Tensor:
    """Into the memory of the argument, a sum or product that nobody else holds: new memory costs more here than the sum."""
    return leaky_relu(values, LEAK, inplace=True)


def _full_precision(like: Tensor) -> torch.autocast:
    """No autocast: in bfloat16 a coordinate would be off by half a millimetre of a hand, and its difference to a near one by far more than that."""
    return torch.autocast("cuda" if like.is_cuda else "cpu", enabled=False)
