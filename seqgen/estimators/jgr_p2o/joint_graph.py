"""Joint graph reasoning: features of pixels are gathered into joints, passed along a graph and given back (JGR-P2O, Fang et al., ECCV 2020, section 3.2).

    features (N,C,H,W), weights (N,J,H,W) -> vote -> joints (N,J,C) -> graph -> joints (N,J,C) -> give back -> context (N,C,H,W)

    vote        f_k = sum_i w_ki phi(x_i)                 Eq. 2; phi: 1x1 convolution, batch normalisation, ReLU
    graph       F' = ReLU(A F W)                          Eq. 3
    give back   c_i = rho(1/J sum_k w_ki f'_k)            Eq. 4; rho as phi; the weights are those of the votes

    graph           A, joints x joints                                      from
    skeleton        D^-1/2 (B + I) D^-1/2, B of the bones, D the row sums   the edges, never learned (Kipf and Welling, ICLR 2017)
    similarity      softmax over j of v(f_i) . psi(f_j), v, psi linear      each picture's own joint features
    parameterised   any numbers, at first all 1e-6 (published code)         learned, the same for all pictures

Does not know: the number or names of joints, what the weights were made of, what is done with the context.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import relu

from seqgen.estimators.jgr_p2o.hourglass import conv_block

Graph = Literal["skeleton", "similarity", "parameterised"]
Edges = Sequence[tuple[int, int]]

FIRST_CONNECTION = 1e-6


def normalised_adjacency(num_joints: int, edges: Edges) -> Float[Tensor, "joints joints"]:
    """D^-1/2 (B + I) D^-1/2 of an undirected graph; an edge given twice counts once. ValueError for an edge to itself or to a joint that is not there."""
    for first, second in edges:
        if first == second or not (0 <= first < num_joints and 0 <= second < num_joints):
            raise ValueError(f"({first}, {second}) is no edge among {num_joints} joints")
    connected = {(joint, joint) for joint in range(num_joints)} | {pair for first, second in edges for pair in ((first, second), (second, first))}
    degree = Counter(first for first, _ in connected)
    rows = [[(degree[i] * degree[j]) ** -0.5 if (i, j) in connected else 0.0 for j in range(num_joints)] for i in range(num_joints)]
    return torch.tensor(rows, dtype=torch.float32)


class SkeletonGraph(nn.Module):
    """Fixed connections along the bones."""

    def __init__(self, num_joints: int, edges: Edges) -> None:
        super().__init__()
        self.register_buffer("adjacency", normalised_adjacency(num_joints, edges), persistent=False)

    def forward(self, joints: Float[Tensor, "batch joints channels"]) -> Float[Tensor, "joints joints"]:
        """The connections, whatever the features."""
        return self.adjacency


class SimilarityGraph(nn.Module):
    """Connections by how alike two joints' features are after two linear maps; each row sums to 1."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.of_receiver = nn.Linear(channels, channels, bias=False)
        self.of_giver = nn.Linear(channels, channels, bias=False)

    def forward(self, joints: Float[Tensor, "batch joints channels"]) -> Float[Tensor, "batch joints joints"]:
        """Connections of each picture."""
        return (self.of_receiver(joints) @ self.of_giver(joints).transpose(1, 2)).softmax(-1)


class ParameterisedGraph(nn.Module):
    """Connections that are learned one by one."""

    def __init__(self, num_joints: int) -> None:
        super().__init__()
        self.connections = nn.Parameter(torch.full((num_joints, num_joints), FIRST_CONNECTION))

    def forward(self, joints: Float[Tensor, "batch joints channels"]) -> Float[Tensor, "joints joints"]:
        """The connections, whatever the features."""
        return self.connections


def joint_graph(kind: Graph, num_joints: int, edges: Edges, channels: int) -> nn.Module:
    """One of the three; `edges` are read for the skeleton alone."""
    if kind == "skeleton":
        return SkeletonGraph(num_joints, edges)
    return SimilarityGraph(channels) if kind == "similarity" else ParameterisedGraph(num_joints)


def spatial_softmax(scores: Float[Tensor, "batch joints rows columns"]) -> Float[Tensor, "batch joints rows columns"]:
    """Positive weights that sum to 1 over each joint's map (Eq. 1), at least in single precision."""
    return at_least_single(scores).flatten(2).softmax(-1).unflatten(2, scores.shape[2:])


def at_least_single(values: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Single precision of half of it, as autocast gives: half a pixel of a map is too coarse for its last digits."""
    return values.to(torch.promote_types(values.dtype, torch.float32))


def vote(features: Float[Tensor, "batch channels rows columns"], weights: Float[Tensor, "batch joints rows columns"]) -> Float[Tensor, "batch joints channels"]:
    """Each joint's weighted sum of the pixels' features (Eq. 2, without its convolution)."""
    return weights.flatten(2) @ features.flatten(2).transpose(1, 2)


def give_back(joints: Float[Tensor, "batch joints channels"], weights: Float[Tensor, "batch joints rows columns"]) -> Float[Tensor, "batch channels rows columns"]:
    """Each pixel's mean over joints of their weighted features (Eq. 4, without its convolution)."""
    pixels = weights.flatten(2).transpose(1, 2) @ joints / joints.shape[1]
    return pixels.transpose(1, 2).unflatten(2, weights.shape[2:])


class JointGraphReasoning(nn.Module):
    """The way drawn above, from the pixels to the joints and back."""

    def __init__(self, num_joints: int, edges: Edges, *, graph: Graph = "skeleton", channels: int = 128) -> None:
        super().__init__()
        self.before_vote = conv_block(channels, channels)
        self.graph = joint_graph(graph, num_joints, edges, channels)
        self.transform = nn.Linear(channels, channels, bias=False)
        self.after_return = conv_block(channels, channels)

    def forward(
        self, features: Float[Tensor, "batch channels rows columns"], weights: Float[Tensor, "batch joints rows columns"]
    ) -> Float[Tensor, "batch channels rows columns"]:
        """Context of every pixel: what the joints that it speaks for have gathered."""
        joints = vote(self.before_vote(features), weights)
        joints = relu(self.graph(joints) @ self.transform(joints))
        return self.after_return(give_back(joints, weights))
