"""SeqHAND-Net: counts against the paper, streaming against whole clips, parts, precision, config; and, slow, that it can learn eight clips by heart."""

import math
import re
import time
from dataclasses import fields, replace
from pathlib import Path

import pytest
import torch
from runs import small_config
from torch import nn

from seqgen.config import build
from seqgen.dataset import open_dataset
from seqgen.dataset.clips import DatasetClips
from seqgen.errors import UserError
from seqgen.estimators.cost import network_cost, num_parameters
from seqgen.estimators.estimator import Estimator
from seqgen.estimators.seqhand.estimator import SeqHand, SeqHandConfig
from seqgen.estimators.seqhand.network import SeqHandNetwork
from seqgen.estimators.seqhand.parametric_hand import ComponentHandLayer, ParametricHand
from seqgen.estimators.views.batch import Batch
from seqgen.estimators.views.crop import InputConfig
from seqgen.estimators.views.feed import batch_of
from seqgen.hand import load_hand
from seqgen.pipeline.process import one_thread
from seqgen.pipeline.run import generate_dataset

VARIANTS = ["none", "lstm", "convlstm", "i3d", "motion"]
SMALL = {"backbone": "resnet18", "width": 0.125}
PUBLISHED = {("resnet50", "none"): 28.8e6, ("resnet101", "none"): 47.8e6, ("resnet50", "lstm"): 39.3e6, ("resnet50", "convlstm"): 43.2e6}


@pytest.fixture(autouse=True)
def one_start():
    """Modules draw their first weights from torch's own generator."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


@pytest.fixture(scope="module")
def layer():
    return ComponentHandLayer(load_hand("open"))


def network(backbone, temporal):
    with torch.device("meta"):
        return SeqHandNetwork(backbone, temporal)


def make(layer, temporal, **fields):
    """A small estimator in which everything counts: statistics, scales and the last layer are not those of the start."""
    model = SeqHand(SeqHandConfig(**{**SMALL, "temporal": temporal, **fields}), layer)
    generator = torch.Generator().manual_seed(1)
    for module in model.network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_var.copy_(0.5 + torch.rand(module.running_var.shape, generator=generator))
            module.running_mean.copy_(0.1 * torch.randn(module.running_mean.shape, generator=generator))
    for parameter in model.parameters():
        if not parameter.any():
            parameter.data.copy_(0.1 * torch.randn(parameter.shape, generator=generator))
    return model


def made_up_batch(layer, *, clips=2, frames=5, size=64, components=10, seed=0):
    """Noise for pictures, with the labels of random hands that change from frame to frame."""
    generator = torch.Generator().manual_seed(seed)
    hand = ParametricHand(layer, components)
    hand.set_start(700.0 * size / 224, (size / 2, size / 2))
    numbers = 0.3 * torch.randn(clips, frames, 26 - 10 + components, generator=generator)
    numbers[..., -10:] = numbers[:, :1, -10:]
    hands = hand(numbers.flatten(0, 1))
    shape = (clips, frames)
    return Batch(
        keys=tuple(f"{clip:08d}" for clip in range(clips)),
        sides=("right",) * clips,
        rgb=torch.randint(0, 256, (*shape, 3, size, size), generator=generator, dtype=torch.uint8),
        joints_m=hands.joints_m.unflatten(0, shape),
        root_m=torch.zeros(*shape, 3),
        joints_px=hands.joints_px.unflatten(0, shape),
        joints_valid=torch.ones(*shape, 21, dtype=torch.bool),
        weak_perspective=hands.weak_perspective.unflatten(0, shape),
        pose=hands.pose.unflatten(0, shape),
        betas=hands.betas.unflatten(0, shape)[:, 0],
        has_pose=torch.ones(clips, dtype=torch.bool),
        mask=torch.rand(*shape, size, size, generator=generator) > 0.7,
        has_mask=torch.ones(clips, dtype=torch.bool),
        vertices_m=None,
        has_vertices=torch.zeros(clips, dtype=torch.bool),
        centre_m=torch.zeros(*shape, 3),
        cube_m=torch.zeros(shape),
        usable=torch.ones(shape, dtype=torch.bool),
        crop_from_picture=torch.eye(3).expand(*shape, 3, 3).contiguous(),
        intrinsics=torch.zeros(*shape, 3, 3),
        perspective=torch.ones(clips, dtype=torch.bool),
    )


def clips_of(batch, wanted):
    """Some clips of a batch."""
    tensors = {field.name: getattr(batch, field.name)[wanted] for field in fields(Batch) if isinstance(getattr(batch, field.name), torch.Tensor)}
    return replace(batch, keys=batch.keys[wanted], sides=batch.sides[wanted], **tensors)


def assert_same_prediction(now, whole, frame):
    """Of one frame: to 1e-5 metres, and as much of all else."""
    torch.testing.assert_close(now.joints_m[:, 0], whole.joints_m[:, frame], atol=1e-5, rtol=0)
    for name in ("joints_px", "pose", "betas", "weak_perspective"):
        torch.testing.assert_close(getattr(now, name)[:, 0], getattr(whole, name)[:, frame], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("backbone", "temporal"), PUBLISHED)
def test_parameter_counts_are_within_a_percent_of_the_papers(backbone, temporal):
    assert num_parameters(network(backbone, temporal)) == pytest.approx(PUBLISHED[backbone, temporal], rel=0.01)


def test_the_page_of_costs_has_these_counts():
    page = (Path(__file__).parent.parent / "docs" / "results" / "seqhand_parameters.md").read_text(encoding="utf-8")
    for backbone, temporal in PUBLISHED:
        [row] = re.findall(rf"^\| {backbone}, {temporal} .*$", page, re.MULTILINE)
        assert f"| {num_parameters(network(backbone, temporal)) / 1e6:.3f} " in row


def macs_of(backbone, temporal):
    return network_cost(SeqHandConfig(backbone=backbone, temporal=temporal), InputConfig()).macs_per_frame


def test_multiply_accumulates_are_those_of_the_layers_by_hand():
    """At 224 px a ResNet-50 has 4.087 G, a ResNet-101 7.799 G (without fc); a ConvLSTM adds its convolutions over 7 x 7."""
    head = 2048 * 1024 + 1024 * 1024 + 1024 * 2048 + 2048 * 26
    assert macs_of("resnet50", "none") - head == 4_087_136_256
    assert macs_of("resnet101", "none") - head == 7_799_357_440
    recurrent = 49 * (2048 * 512 + 4 * 512 * 1024 * 9) + 512 * 26
    assert macs_of("resnet50", "convlstm") == 4_087_136_256 + recurrent
    lstm = 4 * 1024 * (2048 + 1024) + 1024 * 1024 + 1024 * 2048 + 2048 * 26
    assert macs_of("resnet50", "lstm") == 4_087_136_256 + lstm


def test_all_widths_follow_the_backbone():
    with torch.device("meta"):
        narrow = {temporal: SeqHandNetwork("resnet50", temporal, width=0.25) for temporal in VARIANTS}
        small = SeqHandNetwork("resnet18", "convlstm", width=0.5, reduce=40, hidden=24)
    linear = [(module.in_features, module.out_features) for module in narrow["none"].head if isinstance(module, nn.Linear)]
    assert linear == [(512, 256), (256, 256), (256, 512), (512, 26)]
    assert (narrow["lstm"].temporal.lstm.input_size, narrow["lstm"].temporal.lstm.hidden_size) == (512, 256)
    assert narrow["convlstm"].temporal.gates.weight.shape == (4 * 128, 128 + 128, 3, 3)
    assert small.temporal.gates.weight.shape == (4 * 24, 40 + 24, 3, 3) and small.head[-1].weight.shape == (26, 24)


@pytest.mark.parametrize("temporal", VARIANTS)
def test_frame_by_frame_equals_the_whole_clip(layer, temporal):
    model, batch = make(layer, temporal).eval(), made_up_batch(layer)
    model.start_from(batch)
    with torch.no_grad():
        whole, state = model.prediction(model(batch)), None
        for frame in range(5):
            now, state = model.step(batch.frame(frame), state)
            assert_same_prediction(now, whole, frame)


@pytest.mark.parametrize("temporal", VARIANTS)
def test_only_the_frame_by_frame_network_forgets(layer, temporal):
    model, batch = make(layer, temporal).eval(), made_up_batch(layer)
    with torch.no_grad():
        _, state = model.step(batch.frame(0), None)
        fresh, remembering = model.step(batch.frame(1), None)[0], model.step(batch.frame(1), state)[0]
    apart_m = (fresh.joints_m - remembering.joints_m).abs().max()
    assert apart_m == 0 if temporal == "none" else apart_m > 1e-4


@pytest.mark.parametrize("temporal", VARIANTS)
def test_clips_of_a_batch_do_not_meet(layer, temporal):
    model, batch = make(layer, temporal).eval(), made_up_batch(layer)
    with torch.no_grad():
        together, alone = model.prediction(model(batch)), model.prediction(model(clips_of(batch, slice(1, 2))))
    torch.testing.assert_close(together.joints_m[1:], alone.joints_m, atol=1e-5, rtol=0)


@pytest.mark.parametrize("temporal", VARIANTS)
def test_every_weight_is_taught_and_in_one_part(layer, temporal):
    model, batch = make(layer, temporal), made_up_batch(layer, frames=3, size=96)
    assert isinstance(model, Estimator)
    sum(model.losses(model(batch), batch).values()).backward()
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in model.parameters())
    in_parts = [id(parameter) for part in model.parts().values() for parameter in part.parameters()]
    assert sorted(in_parts) == sorted(map(id, model.parameters()))
    assert ("temporal" in model.parts()) == (temporal in ("lstm", "convlstm", "motion"))


def test_the_temporal_part_is_the_recurrent_cell_alone(layer):
    assert [name for name, _ in make(layer, "convlstm").parts()["temporal"].named_parameters()] == ["gates.weight", "gates.bias"]


@pytest.mark.parametrize("temporal", VARIANTS)
def test_stills_are_clips_of_one_frame(layer, temporal):
    model, batch = make(layer, temporal).eval(), made_up_batch(layer, clips=3, frames=1)
    terms = model.losses(model(batch), batch)
    assert terms["temporal"] == 0 and all(term.isfinite() for term in terms.values())


@pytest.mark.parametrize("temporal", VARIANTS)
def test_bfloat16_stays_near_and_hands_stay_float32(layer, temporal):
    model, batch = make(layer, temporal).eval(), made_up_batch(layer)
    with torch.no_grad():
        exact = model(batch).hands
        with torch.autocast("cpu", dtype=torch.bfloat16):
            rounded = model(batch).hands
    for name in ("scale_px_per_m", "rotation", "theta", "betas", "joints_m", "joints_px"):
        assert getattr(rounded, name).dtype == torch.float32
    step_m = (exact.joints_m - rounded.joints_m).norm(dim=-1).mean()
    assert 0 < step_m < 0.05 * exact.joints_m.norm(dim=-1).mean()  # bfloat16 has eight bits: a percent or so after many layers


@pytest.mark.parametrize("temporal", VARIANTS)
def test_bfloat16_teaches(layer, temporal):
    model, batch = make(layer, temporal), made_up_batch(layer, frames=2)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = model(batch)
    sum(model.losses(output, batch).values()).backward()
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())


def test_training_begins_at_the_mean_hand(layer):
    model, batch = SeqHand(SeqHandConfig(**SMALL), layer), made_up_batch(layer)
    model.start_from(batch)
    with torch.no_grad():
        hands = model(batch).hands
    assert hands.scale_px_per_m.mean().item() == pytest.approx(batch.weak_perspective[..., 0].log().mean().exp().item(), rel=0.02)
    assert hands.betas.abs().max() < 0.1 and hands.theta.abs().max() < 0.1


def test_six_numbers_of_rotation_make_29(layer):
    model = SeqHand(SeqHandConfig(**SMALL, rotation="6d"), layer)
    assert model.network.head[-1].out_features == 29
    assert model.prediction(model(made_up_batch(layer))).pose.shape == (2, 5, 16, 3)


def test_the_surface_is_there_when_asked_for(layer):
    model, batch = SeqHand(SeqHandConfig(**SMALL), layer), made_up_batch(layer, frames=1)
    output = model(batch)
    assert model.prediction(output).vertices_m is None
    tips_px = model.prediction(output, with_vertices=True).vertices_m[:, :, layer.tip_vertices]
    torch.testing.assert_close(tips_px, output.hands.joints_m.unflatten(0, (2, 1))[:, :, 4::4], atol=1e-6, rtol=0)


REFUSED = {
    "width": (0.3, "model: width = 0.3: a width of 0.3 is no multiple of 1/8"),
    "backbone": ("resnet20", "model: backbone"),
    "temporal": ("gru", "model: temporal"),
    "hidden": (0, "model: hidden = 0"),
    "reduce": (-1, "model: reduce = -1"),
    "pose_components": (46, "model: pose_components = 46"),
    "rotation": ("quaternion", "model: rotation"),
    "peepholes": (True, "model: unknown key peepholes"),
}


@pytest.mark.parametrize("field", REFUSED)
def test_configs_that_make_no_network_are_refused(field):
    value, message = REFUSED[field]
    with pytest.raises(UserError, match=f"^{message}"):
        build(SeqHandConfig, {field: value}, where="model")


def test_fields_that_a_variant_does_not_use_are_allowed():
    assert build(SeqHandConfig, {"temporal": "none", "hidden": 64, "reduce": 64}, where="model").hidden == 64


@pytest.mark.slow
def test_eight_clips_are_learned_by_heart(layer, tmp_path):
    """Below 3 mm in five minutes of one core: half-width ResNet-18 at 112 px with a ConvLSTM, clips of a weak-perspective camera and ten components."""
    everything = {"sequences": 8, "split": {"train": 8, "val": 0, "test": 0}, "clip": {"frames": 10, "size": (112, 112)}}
    generate_dataset(small_config(**everything, camera={"kind": "weak_perspective"}, hand={"pose_components": 10}), tmp_path / "data")
    clips = DatasetClips(open_dataset(tmp_path / "data"))
    batch = batch_of([clips.read(position) for position in range(8)], InputConfig(size=112))
    model = SeqHand(SeqHandConfig(backbone="resnet18", width=0.5), layer).to(memory_format=torch.channels_last)
    began = time.process_time()  # what the work takes, whatever else the machine does
    with one_thread():
        learn(model, batch, steps=500, rate=1e-3)
    seconds = time.process_time() - began
    model.eval()
    with torch.no_grad():
        error_mm = 1000 * (model.prediction(model(batch)).joints_m - batch.joints_m).norm(dim=-1).mean().item()
    assert error_mm < 3 and seconds < 300, f"{error_mm:.2f} mm after {seconds:.0f} s"


def learn(model, batch, *, steps, rate):
    """Adam on one batch, the rate warmed up over 50 steps and then falling like a cosine."""
    model.start_from(batch)
    model.train()
    optimiser = torch.optim.Adam(model.parameters(), rate)
    for step in range(steps):
        optimiser.param_groups[0]["lr"] = rate * min(1, (step + 1) / 50) * (1 + math.cos(math.pi * step / steps)) / 2
        optimiser.zero_grad()
        sum(model.losses(model(batch), batch).values()).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
