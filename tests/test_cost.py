"""What networks cost, from their configs: every network's parameters and MACs are those of its paper or its published code, and nothing is drawn or computed."""

import pytest
import torch

from seqgen.estimators import ESTIMATORS
from seqgen.estimators.checkpoint import new_estimator
from seqgen.estimators.cost import blank_view, network_cost, num_macs, num_parameters
from seqgen.estimators.seqhand.estimator import SeqHandConfig
from seqgen.estimators.views.crop import InputConfig

# network, fields of its config, parameters, billions of MACs
PUBLISHED = [
    ("srn", {"joints": "nyu", "stages": 1}, 11_191_786, 0.5665),
    ("srn", {"joints": "nyu"}, 22_304_020, 0.9875),
    ("srn", {"joints": "nyu", "stages": 3}, 33_487_934, 1.4269),
    ("srn", {}, 22_361_406, 0.9967),
    ("jgr_p2o", {"joints": "nyu"}, 1_365_244, 0.3562),
    ("jgr_p2o", {"joints": "icvl"}, 1_368_064, 0.3579),
    ("jgr_p2o", {}, 1_375_114, 0.3621),
    ("jar", {}, 28_889_987, 5.569),
    ("jar", {"stages": 2}, 50_744_774, 7.151),
    ("jar", {"backbone": "resnet34"}, 24_602_243, 4.884),
    ("jar", {"kind": "detection25d"}, 34_006_122, 7.261),
    ("jar", {"backbone": "resnet152"}, 28_889_987 + 58_143_808 - 23_508_032, 5.569 + 15.036 - 5.338),
]
# HandR2N2's parameters by joint set; of its MACs, see below
HANDR2N2 = {"nyu": 1_236_614, "icvl": 1_253_510, "canonical": 1_304_710}


def cost(name, fields):
    kind = ESTIMATORS[name]
    return network_cost(kind.config(**fields), kind.input(**({"size": 96} if name == "jgr_p2o" else {})))


@pytest.mark.parametrize(("name", "fields", "parameters", "billions"), PUBLISHED)
def test_costs_are_the_published(name, fields, parameters, billions):
    found = cost(name, fields)
    assert found.parameters == parameters
    assert found.macs_per_frame / 1e9 == pytest.approx(billions, rel=0.02)


@pytest.mark.parametrize("joints", HANDR2N2)
def test_handr2n2s_encoder_costs_less_than_published(joints):
    """Ours works out first layers once for each point, not in every group; the sums by hand are in `test_handr2n2_network`."""
    found = cost("handr2n2", {"joints": joints, "iterations": 0})
    assert found.parameters == HANDR2N2[joints]
    assert 0.9 * 0.4289e9 < found.macs_per_frame < 0.4289e9


def test_handr2n2_is_counted_with_its_iterations_at_inference():
    iterations = [cost("handr2n2", {"iterations": 3, "inference_iterations": at_inference}).macs_per_frame for at_inference in (0, 1, None)]
    assert iterations[2] - iterations[0] == 3 * (iterations[1] - iterations[0])
    assert 0.7 * 0.4386e9 < iterations[1] - iterations[0] < 0.4386e9  # published


SEQHAND = [{}, {"rotation": "6d", "pose_components": 6}, {"temporal": "lstm", "hidden": 40}, {"temporal": "convlstm", "reduce": 24}, {"temporal": "motion"}]


@pytest.mark.parametrize("fields", SEQHAND)
def test_seqhand_is_counted_as_it_is_made(fields):
    config = SeqHandConfig(backbone="resnet18", width=0.125, **fields)
    estimator = new_estimator(config).eval()
    assert network_cost(config, InputConfig(size=64)).parameters == num_parameters(estimator)
    assert sum(tensor.numel() for tensor in estimator.network.parameters()) == num_parameters(estimator)


def test_seqhands_memory_costs_from_the_second_frame_on():
    """The products with what is remembered, none at a start: 16 channels, a quarter of the encoder's, to 4 x 16 by 3 x 3 kernels over 2 x 2."""
    estimator = new_estimator(SeqHandConfig(backbone="resnet18", width=0.125)).eval()
    first = num_macs(lambda: estimator.network(torch.zeros(1, 1, 3, 64, 64)))
    assert network_cost(estimator.config, InputConfig(size=64)).macs_per_frame == first + 2 * 2 * 16 * 4 * 16 * 9


@pytest.mark.parametrize("name", ESTIMATORS)
def test_nothing_is_drawn(name):
    state = torch.get_rng_state()
    cost(name, {"iterations": 0} if name == "handr2n2" else {})
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("name", ESTIMATORS)
def test_a_blank_view_is_what_the_network_is_shown(name):
    kind = ESTIMATORS[name]
    view = blank_view(kind.input(), clips=2)
    assert (view.num_clips, view.num_frames) == (2, 1)
    shown = {"handr2n2": "points", "srn": "depth", "jgr_p2o": "depth"}.get(name, "rgb")
    assert [field for field in ("rgb", "depth", "points") if getattr(view, field) is not None] == [shown]
