"""HandR2N2, SRN, JGR-P2O and JAR as estimators: what they say of the truth is the truth, on every joint set; frames by themselves; training; slow, 64 frames by heart."""

import math
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import pytest
import torch
from draws import one_start  # noqa: F401
from runs import small_config
from torch import Tensor, nn

from seqgen.benchmarks import open_clips
from seqgen.errors import UserError
from seqgen.estimators import ESTIMATORS
from seqgen.estimators.checkpoint import load_estimator, new_estimator, save_estimator
from seqgen.estimators.estimator import Estimator
from seqgen.estimators.handr2n2.network import HandR2N2Network
from seqgen.estimators.jar.detection25d import Detection25d
from seqgen.estimators.jgr_p2o.network import StageOutput
from seqgen.estimators.resnet import ResNet
from seqgen.estimators.still_estimator import StillEstimator, StillOutput
from seqgen.estimators.views.batch import Batch
from seqgen.estimators.views.feed import batch_of, pictures_of
from seqgen.estimators.views.view import View
from seqgen.joint_targets import TARGETS
from seqgen.pipeline.run import generate_dataset

SMALL = {
    "handr2n2": {"iterations": 1, "neighbours": 16},
    "srn": {"width": 0.125},
    "jgr_p2o": {"channels": 16},
    "jar": {"backbone": "resnet18", "width": 0.125, "size": 64, "hidden": 32, "stages": 2},
}
SETS = ("canonical", "nyu", "icvl")


@pytest.fixture(scope="module", params=["perspective", "weak_perspective"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two clips, one of a left hand."""
    directory = tmp_path_factory.mktemp("stills") / request.param
    split = {"train": 4, "val": 0, "test": 0}
    generate_dataset(small_config(sequences=4, split=split, camera={"kind": request.param}, hand={"left": 0.5}), directory)
    return directory


def made(name: str, joints: str = "canonical", **changes: object) -> StillEstimator:
    return new_estimator(ESTIMATORS[name].config(joints=joints, **{**SMALL[name], **changes}))


def batch_for(estimator: StillEstimator, folder: Path, *, frames: int = 2, clips: int = 3) -> Batch:
    kind = ESTIMATORS[estimator.name].input
    shared = {"joints": estimator.config.joints, **({"size": estimator.config.size} if hasattr(estimator.config, "size") else {})}
    input = kind(**shared)
    source = open_clips(folder, pictures=pictures_of(input))
    return batch_of([source.read(position, range(frames)) for position in range(clips)], input)


def truth(estimator: StillEstimator, batch: Batch) -> Tensor | StageOutput:
    """What a network would have to say to be right: found by descending its own losses on free numbers, so from nothing but `losses`."""
    frames, joints = batch.num_clips * batch.num_frames, batch.joints_m.shape[2]
    said = nn.Parameter(torch.zeros(frames, joints, 3))
    optimiser = torch.optim.LBFGS([said], lr=1, max_iter=300, tolerance_grad=1e-12, tolerance_change=1e-14, line_search_fn="strong_wolfe")

    def stage() -> Tensor | StageOutput:
        nothing = torch.zeros(frames, 3, 1, 1)
        return StageOutput(said, torch.ones(frames, joints, 1, 1), None, nothing) if estimator.name == "jgr_p2o" else said

    def closure() -> Tensor:
        optimiser.zero_grad()
        loss = sum(estimator.losses(StillOutput([stage()], batch), batch).values())
        loss.backward()
        return loss

    for _ in range(20):
        optimiser.step(closure)
    return stage()


@pytest.mark.parametrize("joints", SETS)
@pytest.mark.parametrize(("name", "changes"), [("handr2n2", {}), ("srn", {}), ("srn", {"stages": 1, "coordinates": "cube"}), ("jgr_p2o", {})])
def test_what_the_losses_ask_for_is_decoded_to_the_labels(name: str, changes: dict[str, object], joints: str, folder: Path) -> None:
    """So targets and decoding are each other's inverse, of both cameras, of left hands too."""
    estimator = made(name, joints, **changes)
    batch = batch_for(estimator, folder)
    said = estimator.prediction(StillOutput([truth(estimator, batch)], batch))
    assert (said.joints_m - batch.joints_m).norm(dim=-1).max() < 1e-5
    assert (said.root_m - batch.root_m).norm(dim=-1).max() < 1e-5
    assert (said.joints_px - batch.joints_px).norm(dim=-1).max() < 5e-3


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("joints", SETS)
def test_a_stream_is_its_clip_and_a_clip_its_frames(name: str, joints: str, folder: Path) -> None:
    estimator = made(name, joints).eval()
    batch = batch_for(estimator, folder)
    assert isinstance(estimator, Estimator)
    with torch.no_grad():
        whole = estimator.prediction(estimator(batch))
    assert whole.joints_m.shape == (3, 2, TARGETS[joints].num_joints, 3) and not whole.joints_m[:, :, estimator.root].any()
    for frame in range(2):
        one, state = estimator.step(batch.frame(frame), None)
        assert state is None
        torch.testing.assert_close(one.joints_m[:, 0], whole.joints_m[:, frame], atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", SMALL)
def test_two_steps_teach(name: str, folder: Path) -> None:
    """Every weight gets a gradient, and each of two small steps along it lowers the loss."""
    estimator = made(name)
    batch = batch_for(estimator, folder)
    estimator.start_from(batch)
    for module in estimator.modules():  # normalised by fixed numbers, the loss is a function of the weights alone
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.eval()
    for _ in range(2):
        loss = sum(estimator.losses(estimator(batch), batch).values())
        estimator.zero_grad()
        loss.backward()
        assert all(parameter.grad is not None for parameter in estimator.parameters())
        squared = sum(parameter.grad.square().sum() for parameter in estimator.parameters())
        rate = 1e-4 * loss.detach() / squared
        with torch.no_grad():
            for parameter in estimator.parameters():
                parameter -= rate * parameter.grad
            after = sum(estimator.losses(estimator(batch), batch).values())
        assert after < loss


@pytest.mark.parametrize("name", SMALL)
def test_frames_that_cannot_be_used_teach_nothing(name: str, folder: Path) -> None:
    estimator = made(name).eval()
    batch = batch_for(estimator, folder)
    lost = batch.joints_valid.clone()
    lost[1] = False
    noise = torch.where(lost[..., None], batch.joints_m, torch.tensor(float("nan")))
    one, other = (estimator.losses(estimator(batch), replace(batch, joints_valid=lost, joints_m=joints_m)) for joints_m in (batch.joints_m, noise))
    for term in one:
        assert torch.isfinite(other[term]) and torch.equal(one[term], other[term])


def test_more_iterations_when_not_training(folder: Path) -> None:
    estimator = made("handr2n2", inference_iterations=4)
    batch = batch_for(estimator, folder)
    assert len(estimator(batch).stages) == 2 and len(estimator.eval()(batch).stages) == 5


KINDS = [
    ("handr2n2", {}),
    ("handr2n2", {"gates": "none", "graph": "none"}),
    ("srn", {"stages": 1}),
    *(("srn", {"interface": interface}) for interface in ("fields", "heatmap2d", "deconvolution")),
    ("jgr_p2o", {"stages": 1}),
    ("jgr_p2o", {"stages": 3, "graph": "parameterised"}),
    *(("jgr_p2o", {"weighting": weighting}) for weighting in ("graph", "attention", "uniform")),
    ("jgr_p2o", {"decoding": "heatmap"}),
    *(("jar", {"ablation": row, "stages": None}) for row in (1, 4, 7, 10)),
    ("jar", {"kind": "detection25d", "stages": None}),
]


@pytest.mark.parametrize(("name", "changes"), KINDS, ids=lambda value: " ".join(map(str, value.values())) if isinstance(value, dict) else None)
def test_every_weight_and_statistic_is_of_one_part(name: str, changes: dict) -> None:
    """So with "encoder" frozen and "head" frozen in turn, everything is frozen once, and nothing is left in between."""
    estimator = made(name, **changes)
    parts = estimator.parts()
    assert list(parts) == ["encoder", "head"] and all(any(True for _ in part.parameters()) for part in parts.values())
    for tensors_of in (nn.Module.named_parameters, nn.Module.named_buffers):
        counted = Counter(id(tensor) for part in parts.values() for _, tensor in tensors_of(part))
        owned = {name: counted[id(tensor)] for name, tensor in tensors_of(estimator) if name in estimator.state_dict() and name.startswith("network.")}
        assert {name: count for name, count in owned.items() if count != 1} == {}


@pytest.mark.parametrize("name", SMALL)
def test_a_checkpoint_gives_the_same_network(name: str, folder: Path, tmp_path: Path) -> None:
    estimator = made(name).eval()
    batch = batch_for(estimator, folder)
    input = ESTIMATORS[name].input(**({"size": 64} if name == "jar" else {}))
    save_estimator(tmp_path / "c", estimator, input, {})
    loaded = load_estimator(tmp_path / "c")
    assert loaded.input == input
    with torch.no_grad():
        assert torch.equal(loaded.estimator.prediction(loaded.estimator(batch)).joints_m, estimator.prediction(estimator(batch)).joints_m)


def test_a_published_resnet_starts_every_stage_of_srn(folder: Path, tmp_path: Path) -> None:
    """A grey picture in three channels goes through the ResNet as the depth goes through the first stage; the others add nothing for the maps."""
    torch.manual_seed(1)
    resnet = ResNet("resnet18", width=0.125).eval()
    torch.save(resnet.state_dict(), tmp_path / "resnet18.pth")
    estimator = made("srn", stages=3).eval()
    estimator.load_backbone(tmp_path / "resnet18.pth")
    depth = batch_for(estimator, folder).depth.flatten(0, 1)[:, None]
    with torch.no_grad():
        features = resnet(depth.expand(-1, 3, -1, -1)).mean((-1, -2))
        for stage, regression in zip(estimator.network(depth), estimator.network.regressions, strict=True):
            torch.testing.assert_close(stage.flatten(1), regression.fc(features), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", ["handr2n2", "jgr_p2o"])
def test_networks_without_a_resnet_say_so(name: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"the network {name} has no ResNet"):
        made(name).load_backbone(tmp_path)


@pytest.mark.parametrize("camera", ["told", "known", "unknown"])
def test_jar_finds_how_far_away_a_hand_is(camera: str, folder: Path) -> None:
    """The truth of places and depths, decoded: exact when told how far away the root is; when not, as exact as the size of the hand is known."""
    estimator = made("jar")
    batch = batch_for(estimator, folder, clips=1)
    estimator.start_from(batch)  # one hand: its size is the mean size
    if camera != "told":
        batch = replace(batch, centre_m=torch.zeros_like(batch.centre_m))
    if camera == "unknown":
        batch = replace(batch, intrinsics=torch.zeros_like(batch.intrinsics))
    off_m = (estimator.prediction(StillOutput([truth(estimator, batch)], batch)).joints_m - batch.joints_m).norm(dim=-1)
    bound = {"told": 1e-5, "known": 1e-4 if bool(batch.perspective.all()) else 1e-5, "unknown": 0.012 if bool(batch.perspective.all()) else 1e-4}[camera]
    assert off_m.max() < bound


def test_the_rival_of_jar_is_its_own_network(folder: Path) -> None:
    estimator = made("jar", kind="detection25d", stages=None)
    assert isinstance(estimator.network, Detection25d)
    batch = batch_for(estimator, folder)
    assert set(estimator.losses(estimator(batch), batch)) == {"uv", "depth"}


def narrow_handr2n2() -> StillEstimator:
    """One iteration, smaller groups and fewer neighbours: a sixth of the work; it sees as many points as ever."""
    estimator = made("handr2n2", iterations=1, neighbours=8)
    estimator.network = HandR2N2Network(TARGETS["canonical"].num_joints, neighbours=8, num_centres=(128, 32), group_size=16)
    return estimator


@dataclass(frozen=True)
class Lesson:
    """Adam over so many steps, each on `clips` of 16 clips of 4 frames, its rate a cosine. From `fixed_from` on, normalisations keep the statistics that they have:
    what is taught is then what is measured. The rate falls from there on."""

    steps: int
    rate: float
    clips: int = 8
    fixed_from: int | None = None

    def rate_at(self, step: int) -> float:
        """After a short rise."""
        fallen = max(0, step - (self.fixed_from or 0)) / (self.steps - (self.fixed_from or 0))
        return self.rate * min(1.0, (step + 1) / 30) * 0.5 * (1 + math.cos(math.pi * fallen))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("make", "lesson", "bound_mm"),
    [
        (narrow_handr2n2, Lesson(1400, 1e-3, clips=4, fixed_from=400), 2.0),
        (partial(made, "srn", width=0.5), Lesson(600, 1e-3), 2.0),
        (partial(made, "jgr_p2o", channels=64), Lesson(600, 2e-3), 2.0),
        (partial(made, "jar", width=0.5, size=128, hidden=None, stages=None), Lesson(600, 1e-3), 3.0),
    ],
    ids=list(SMALL),
)
def test_sixty_four_frames_are_learned_by_heart(make: Callable[[], StillEstimator], lesson: Lesson, bound_mm: float, tmp_path: Path) -> None:
    """In space for networks of depth, root-relative for the other."""
    everything = {"sequences": 16, "split": {"train": 16, "val": 0, "test": 0}, "clip": {"frames": 4, "size": (128, 128)}}
    generate_dataset(small_config(**everything), tmp_path / "data")
    estimator, began = make(), time.process_time()
    batch = batch_for(estimator, tmp_path / "data", frames=4, clips=16)
    learn_by_heart(estimator, batch, lesson)
    with torch.no_grad():
        said = estimator.eval().prediction(estimator(batch))
    places = (said.joints_m, batch.joints_m) if said.root_m is None else (said.joints_m + said.root_m[:, :, None], batch.joints_m + batch.root_m[:, :, None])
    error_mm = 1e3 * (places[0] - places[1]).norm(dim=-1).mean().item()
    assert error_mm < bound_mm, f"{error_mm:.2f} mm after {time.process_time() - began:.0f} s"


def learn_by_heart(estimator: StillEstimator, batch: Batch, lesson: Lesson) -> None:
    """Nothing is augmented, and points are drawn once."""
    estimator.start_from(batch)
    optimiser = torch.optim.Adam(estimator.parameters(), lesson.rate)
    generator = torch.Generator().manual_seed(0)
    for step in range(lesson.steps):
        estimator.train(lesson.fixed_from is None or step < lesson.fixed_from)
        optimiser.param_groups[0]["lr"] = lesson.rate_at(step)
        part = some_clips(batch, torch.randperm(16, generator=generator)[: lesson.clips])
        optimiser.zero_grad()
        sum(estimator.losses(estimator(part), part).values()).backward()
        optimiser.step()


def some_clips(batch: Batch, chosen: Tensor) -> Batch:
    """Some clips of a batch."""
    tensors = {name: value[chosen] for name, value in vars(batch).items() if isinstance(value, Tensor)}
    return replace(batch, keys=tuple(batch.keys[place] for place in chosen), sides=tuple(batch.sides[place] for place in chosen), **tensors)


def test_a_view_of_one_frame_is_that_frame(folder: Path) -> None:
    batch = batch_for(made("srn"), folder)
    frame = batch.frame(1)
    assert type(frame) is View and frame.num_frames == 1 and torch.equal(frame.depth[:, 0], batch.depth[:, 1]) and torch.equal(frame.perspective, batch.perspective)
