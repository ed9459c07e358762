"""The recurrent layers against plain twins, and the clip encoders: streaming, looking back only, and what they are at the start."""

import pytest
import torch
from torch.nn.functional import conv2d, conv3d

from seqgen.estimators.cost import num_parameters
from seqgen.estimators.resnet import ResNet
from seqgen.estimators.seqhand.spatiotemporal import FrameEncoder, InflatedEncoder, MotionEncoder, MotionFeatures
from seqgen.estimators.seqhand.temporal import ConvLstm, Lstm

ENCODERS = [FrameEncoder, InflatedEncoder, MotionEncoder]


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(autouse=True)
def one_start():
    """Modules draw their first weights from torch's own generator."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def plain_conv_lstm(layer, features):
    """The cell as it is written in its docstring, on frames and states joined, from zeros."""
    weight, bias = layer.gates.weight, layer.gates.bias
    hidden = cell = torch.zeros(len(features), layer.hidden, *features.shape[3:])
    outputs = []
    for frame in features.unbind(1):
        i, f, o, g = conv2d(torch.cat([frame, hidden], 1), weight, bias, padding=1).split(layer.hidden, 1)
        cell = torch.sigmoid(f) * cell + torch.sigmoid(i) * torch.tanh(g)
        hidden = torch.sigmoid(o) * torch.tanh(cell)
        outputs.append(hidden)
    return torch.stack(outputs, 1)


def test_conv_lstm_equals_its_plain_twin():
    layer, features = ConvLstm(6, 4), random(2, 5, 6, 3, 3)
    torch.testing.assert_close(layer(features)[0], plain_conv_lstm(layer, features), atol=1e-6, rtol=0)


def test_conv_lstm_teaches_as_its_plain_twin():
    layer, features = ConvLstm(6, 4), random(2, 3, 6, 3, 3)
    grads = [torch.autograd.grad(outputs.square().sum(), list(layer.parameters())) for outputs in (layer(features)[0], plain_conv_lstm(layer, features))]
    for fast, plain in zip(*grads, strict=True):
        torch.testing.assert_close(fast, plain, atol=1e-5, rtol=1e-5)


def plain_lstm(weights, features):
    """Hochreiter and Schmidhuber's cell with a forget gate, in torch's order of gates, from zeros."""
    size = weights["weight_hh_l0"].shape[1]
    hidden = cell = torch.zeros(len(features), size)
    outputs = []
    for frame in features.unbind(1):
        gates = frame @ weights["weight_ih_l0"].T + weights["bias_ih_l0"] + hidden @ weights["weight_hh_l0"].T + weights["bias_hh_l0"]
        i, f, g, o = gates.split(size, 1)
        cell = torch.sigmoid(f) * cell + torch.sigmoid(i) * torch.tanh(g)
        hidden = torch.sigmoid(o) * torch.tanh(cell)
        outputs.append(hidden)
    return torch.stack(outputs, 1)


def test_lstm_equals_its_plain_twin():
    layer, features = Lstm(6, 4), random(2, 5, 6)
    torch.testing.assert_close(layer(features)[0], plain_lstm(layer.lstm.state_dict(), features), atol=1e-6, rtol=0)


@pytest.mark.parametrize(("make", "per_frame"), [(ConvLstm, (3, 3)), (Lstm, ())])
def test_memory_carries_a_clip_on(make, per_frame):
    layer, features = make(6, 4), random(2, 5, 6, *per_frame)
    whole, last = layer(features)
    first, memory = layer(features[:, :2])
    rest, end = layer(features[:, 2:], memory)
    torch.testing.assert_close(torch.cat([first, rest], 1), whole, atol=1e-6, rtol=0)
    assert [tensor.shape for tensor in end] == [tensor.shape for tensor in last]


@pytest.mark.parametrize("make", [ConvLstm, Lstm])
def test_forget_gates_start_open(make):
    layer = make(6, 4)
    biases = [layer.gates.bias] if isinstance(layer, ConvLstm) else [layer.lstm.bias_ih_l0, layer.lstm.bias_hh_l0]
    assert sum(biases).tolist() == [0.0] * 4 + [1.0] * 4 + [0.0] * 8  # i, f, then o and g in either order


def test_recurrent_layers_have_the_published_numbers_of_weights():
    with torch.device("meta"):
        assert num_parameters(ConvLstm(512, 512)) == 4 * 512 * (1024 * 9 + 1)
        assert num_parameters(Lstm(2048, 1024)) == 4 * 1024 * (2048 + 1024 + 2)


@pytest.mark.parametrize("make", ENCODERS)
@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_encoders_stream(make, name):
    encoder, clip = stirred(make(name, width=0.125)).eval(), random(2, 5, 3, 64, 64)
    with torch.no_grad():
        whole, _ = encoder(clip)
        past, frames = None, []
        for frame in clip.split([1, 1, 2, 1], 1):
            features, past = encoder(frame, past)
            frames.append(features)
    torch.testing.assert_close(torch.cat(frames, 1), whole, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("make", "reach"), [(FrameEncoder, 0), (InflatedEncoder, 4), (MotionEncoder, 4)])
def test_encoders_look_back_and_never_ahead(make, reach):
    encoder, clip = stirred(make("resnet18", width=0.125)).eval(), random(1, 6, 3, 64, 64)
    changed = clip.clone()
    changed[:, 1] += 1
    with torch.no_grad():
        apart = (encoder(clip)[0] - encoder(changed)[0]).abs().amax((0, 2, 3, 4))
    assert apart[0] == 0 and apart[1] > 1e-3  # the past does not know; the present does
    assert (apart[2 : 2 + reach] > 0).all() and (apart[2 + reach :] == 0).all()


@pytest.mark.parametrize("make", [InflatedEncoder, MotionEncoder])
def test_a_hand_that_stands_still_is_seen_the_same_in_every_frame(make):
    encoder, still = stirred(make("resnet18", width=0.125)).eval(), random(2, 1, 3, 64, 64)
    with torch.no_grad():
        features, _ = encoder(still.expand(-1, 4, -1, -1, -1))
    torch.testing.assert_close(features, features[:, :1].expand_as(features), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("make", ENCODERS)
def test_encoders_take_over_published_weights_and_start_as_the_resnet(make, tmp_path):
    flat, path = ResNet("resnet18", width=1.0).eval(), tmp_path / "resnet18.pth"
    torch.save(flat.state_dict(), path)
    encoder, still = make("resnet18").eval(), random(1, 1, 3, 64, 64)
    encoder.load_backbone(path)
    with torch.no_grad():
        features, _ = encoder(still.expand(-1, 3, -1, -1, -1))
        expected = flat(still[:, 0])
    if make is MotionEncoder:  # its projections start at zero
        assert all(not projection.any() for motion in encoder.motion for projection in motion.project.parameters())
    torch.testing.assert_close(features, expected[:, None].expand_as(features), atol=1e-4, rtol=1e-4)


def test_an_inflated_convolution_is_a_causal_3d_one():
    encoder, clip = InflatedEncoder("resnet18", width=0.125).eval(), random(2, 5, 3, 32, 32)
    kernel = encoder.backbone.conv1.weight.detach().clone()
    kernel = kernel * random(*kernel.shape, seed=3)  # no longer the same in all three frames
    encoder.backbone.conv1.weight.data.copy_(kernel)
    seen = []
    encoder.backbone.conv1.register_forward_hook(lambda module, inputs, output: seen.append(output))
    with torch.no_grad():
        encoder(clip)
    still_before = torch.cat([clip[:, :1], clip[:, :1], clip], 1).transpose(1, 2)
    in_time = kernel.unflatten(1, (3, 3)).transpose(1, 2)  # out, in, time, rows, columns
    expected = conv3d(still_before, in_time, stride=(1, 2, 2), padding=(0, 3, 3)).transpose(1, 2).flatten(0, 1)
    torch.testing.assert_close(seen[0], expected, atol=1e-5, rtol=1e-5)


def test_inflation_is_of_the_stem_and_every_second_block():
    with torch.device("meta"):
        flat, deep = ResNet("resnet50").state_dict(), InflatedEncoder("resnet50").backbone.state_dict()
    changed = {name for name, tensor in flat.items() if deep[name].shape != tensor.shape}
    blocks = ["layer1.0", "layer1.2", "layer2.1", "layer2.3", "layer3.1", "layer3.3", "layer3.5", "layer4.1"]
    assert changed == {"conv1.weight", *(f"{block}.conv1.weight" for block in blocks)}


class Before:
    """The past of a single clip whose first frame is its own past, for the motion features' plain twin."""

    def look_back(self, frames):
        return [torch.cat([frames[:1], frames[:-1]])[None], frames[None]]


def test_motion_features_are_differences_of_shifted_frames():
    layer, features = stirred(MotionFeatures(16)), random(3, 16, 4, 5)
    reduced = conv2d(features, layer.reduce.weight)
    differences = []
    for rows, columns in ((0, 0), (-1, 0), (1, 0), (0, -1), (0, 1)):
        maps = torch.zeros_like(reduced)
        for frame in range(3):
            for row in range(4):
                for column in range(5):
                    there = min(max(row - rows, 0), 3), min(max(column - columns, 0), 4)
                    maps[frame, :, row, column] = reduced[frame, :, row, column] - reduced[max(frame - 1, 0), :, there[0], there[1]]
        differences.append(maps)
    expected = features + conv2d(torch.cat(differences, 1), layer.project.weight, layer.project.bias)
    torch.testing.assert_close(layer(features, Before()), expected, atol=1e-5, rtol=1e-5)


def test_a_motion_filter_knows_the_way_something_went():
    """A spot that moves a column to the right vanishes in the difference shifted to the right, and nowhere else."""
    spot = torch.zeros(2, 8, 5, 5)
    spot[0, :, 2, 1] = spot[1, :, 2, 2] = 1.0
    layer = MotionFeatures(8)
    layer.reduce.weight.data.copy_(torch.eye(8)[:, :, None, None])
    seen = []
    layer.project.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    layer(spot, Before())
    left_over = seen[0][1].unflatten(0, (5, 8)).abs().sum((1, 2, 3))
    assert left_over.tolist() == [16.0, 16.0, 16.0, 16.0, 0.0]  # in place, up, down, left, right


def stirred(module):
    """Every weight that starts at zero becomes something, so that it counts."""
    for seed, parameter in enumerate(module.parameters()):
        if not parameter.any():
            parameter.data.copy_(0.1 * random(*parameter.shape, seed=seed))
    return module
