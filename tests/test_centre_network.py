"""The localisation refinement: its size, where it starts, that it sees where things are, and that it learns."""

import pytest
import torch

from seqgen.estimators.centre_network import CentreNetwork
from seqgen.estimators.cost import num_parameters


@pytest.fixture(autouse=True)
def one_start():
    """Modules draw their first weights from torch's own generator."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def blobs(num, side=64, seed=0):
    """Squares at random places before an empty background, and where they are: offsets in half cubes."""
    offset = torch.rand(num, 3, generator=torch.Generator().manual_seed(seed)) - 0.5
    along = torch.arange(side) * (2 / side) - 1
    inside = ((along - offset[:, :1]).abs() < 0.3)[:, None, :] & ((along - offset[:, 1:2]).abs() < 0.3)[:, :, None]
    return torch.where(inside, offset[:, 2, None, None], 1.0)[:, None], offset


def trained(network, steps=50):
    depth, offset = blobs(16)
    optimiser = torch.optim.Adam(network.parameters(), lr=3e-3)
    for _ in range(steps):
        loss = (network(depth) - offset).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return network.eval()


def test_parameters_are_those_of_the_layers_that_are_said():
    convolutions = 9 * (1 * 16 + 16 * 32 + 32 * 64 + 64 * 128) + 2 * (16 + 32 + 64 + 128)
    linear = (16 * 128 + 1) * 128 + (128 + 1) * 3
    assert num_parameters(CentreNetwork()) == convolutions + linear == 360_051 < 500_000


@pytest.mark.parametrize("training", [True, False])
def test_before_training_the_centre_of_mass_stands(training):
    assert torch.equal(CentreNetwork().train(training)(blobs(3)[0]), torch.zeros(3, 3))


@pytest.mark.parametrize("side", [64, 100, 128])
def test_crops_of_any_size_from_64_up(side):
    assert CentreNetwork()(blobs(2, side)[0]).shape == (2, 3)


def test_smaller_crops_are_refused():
    with pytest.raises(ValueError, match="at least 64 x 64"):
        CentreNetwork()(blobs(2, 48)[0])


def test_it_learns_where_squares_are():
    """Within 50 steps, on what it saw: a tenth of the squared error of the start, which is that of no offset at all."""
    depth, offset = blobs(16)
    network = trained(CentreNetwork())
    with torch.no_grad():
        assert (network(depth) - offset).square().mean() < 0.1 * offset.square().mean()


def test_a_crop_alone_is_as_in_a_batch_and_an_empty_one_gives_numbers():
    network = trained(CentreNetwork(), 3).double()
    depth = torch.cat([blobs(2)[0], torch.ones(1, 1, 64, 64)]).double()
    with torch.no_grad():
        together = network(depth)
        torch.testing.assert_close(together, torch.cat([network(depth[place : place + 1]) for place in range(3)]), atol=1e-12, rtol=0)
    assert together.isfinite().all() and together.any()


def test_cells_keep_where_things_are():
    """A square moved by 16 of 64 pixels, a whole cell: what the head reads is moved by one cell too, where no border is near."""
    network = CentreNetwork().double().eval()
    depth = torch.ones(2, 1, 256, 256, dtype=torch.float64)
    depth[0, 0, 80:112, 80:112] = depth[1, 0, 80:112, 144:176] = 0.0
    with torch.no_grad():
        here, there = network.encoder(depth).unflatten(1, (128, 4, 4))
        empty = network.encoder(torch.ones_like(depth[:1])).unflatten(1, (128, 4, 4))[0]
    torch.testing.assert_close((there - empty)[:, 1, 2], (here - empty)[:, 1, 1], atol=1e-12, rtol=0)
    assert (here - empty)[:, 1, 1].abs().max() > 1e-3 and not (here - empty)[:, 3, 3].any()
