"""The localiser: boxes through the letterbox and back, what it is taught with, and what the shipped one finds."""

from pathlib import Path

import numpy as np
import pytest
import torch

from seqgen.dataset import open_dataset
from seqgen.errors import UserError
from seqgen.pipeline.process import one_thread
from seqgen.pipeline.run import generate_dataset
from seqgen.prediction import build_localiser, localiser_pictures
from seqgen.prediction.boxes import overlap
from seqgen.prediction.build_localiser import as_input, heat_of, localiser_loss, train_localiser
from seqgen.prediction.localise import CELLS, SHIPPED, STRIDE, THRESHOLD, HandFinder, LearnedLocaliser, boxes_of, letterbox, load_localiser, save_localiser
from seqgen.prediction.localiser_pictures import Frames, gather_frames, place_hands
from tests.runs import small_config
from tests.sequences import make_sequence

Array = np.ndarray
RED = np.array([250, 10, 10], np.uint8)


def boxes_at_random(count: int) -> torch.Tensor:
    """Boxes within the square."""
    rng = np.random.default_rng(3)
    centre, half = rng.uniform(30, 98, (count, 2)), rng.uniform(4, 28, (count, 2))
    return torch.as_tensor(np.concatenate([centre - half, centre + half], 1), dtype=torch.float32)


def perfect_answer(box: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """What a network would have to say of boxes: the heat that is asked for, and the box right in every cell."""
    ticks = torch.arange(CELLS) + 0.5
    cells = torch.stack(torch.meshgrid(ticks, ticks, indexing="xy"), -1)
    centre = (box[:, None, None, :2] + box[:, None, None, 2:]) / 2 / STRIDE - cells
    sides = ((box[:, 2:] - box[:, :2]) / STRIDE).log()[:, None, None].expand_as(centre)
    return torch.logit(heat_of(box), eps=1e-6), torch.cat([centre, sides], -1)


@pytest.mark.parametrize("size", [(640, 480), (480, 640), (128, 128), (50, 30), (1921, 1079)])
def test_boxes_go_through_the_letterbox_and_back(size: tuple[int, int]) -> None:
    """A red rectangle of a picture is found again in the square, and its box there leads back to its pixels' outer edges."""
    width, height = size
    x0, y0, x1, y1 = width // 5, height // 4, width // 2, height // 2
    picture = np.zeros((height, width, 3), np.uint8)
    picture[y0:y1, x0:x1] = RED
    boxed = letterbox(picture)
    rows, columns = np.nonzero(boxed.pixels[..., 0].astype(int) - boxed.pixels[..., 1] > 120)
    there = np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1], np.float32)
    np.testing.assert_allclose(boxed.to_picture(there), np.array([x0, y0, x1, y1]) - 0.5, atol=0.6 * max(1, max(size) / 128))


def test_a_perfect_answer_is_read_as_the_box_and_costs_nothing() -> None:
    box = boxes_at_random(20)
    heat, numbers = perfect_answer(box)
    best = heat.view(20, -1).argmax(1)
    np.testing.assert_allclose(boxes_of(numbers).view(20, -1, 4)[torch.arange(20), best], box, atol=1e-4)
    assert float(localiser_loss(heat, numbers, box)) < 1e-6
    worse = torch.cat([numbers[..., :2], numbers[..., 2:] + 0.2], -1)
    assert float(localiser_loss(heat, worse, box)) > 0.1
    nothing = torch.zeros(20, 4)
    assert float(localiser_loss(torch.full_like(heat, -20.0), numbers, nothing)) < 1e-6 < 1 < float(localiser_loss(heat, numbers, nothing))


def test_heat_is_one_in_the_centres_cell_and_less_around() -> None:
    box = torch.tensor([[40.0, 50, 60, 80], [0, 0, 0, 0]])
    heat = heat_of(box)
    assert float(heat[0, 65 // 8, 50 // 8]) == 1 and int((heat[0] == 1).sum()) == 1 and not heat[1].any()
    assert float(heat[0, 0, 0]) < 1e-3


def test_the_greatest_heat_of_a_picture_becomes_its_box() -> None:
    """A network that always says the same, seen through pictures of two shapes."""

    class Says(HandFinder):
        def forward(self, pictures: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return perfect_answer(torch.tensor([[32.0, 48, 64, 80]]))

    wide = LearnedLocaliser(Says())(np.zeros((240, 320, 3), np.uint8))  # 128 x 96 in the square, 16 px from its top
    np.testing.assert_allclose(wide, np.array([32, 32, 64, 64]) * 2.5 - 0.5, atol=1e-3)
    assert LearnedLocaliser(Says(), threshold=1.1)(np.zeros((240, 320, 3), np.uint8)) is None
    flat = LearnedLocaliser(Says())(np.zeros((64, 256, 3), np.uint8))  # 128 x 32, 48 px from its top: the lower half of the square's box lies beside the picture
    np.testing.assert_allclose(flat, np.array([32, 0, 64, 32]) * 2 - 0.5, atol=1e-3)


def painted_frames() -> Frames:
    """Dark frames of 100 x 80 whose hand is a red rectangle."""
    rng = np.random.default_rng(0)
    rgb = np.full((40, 80, 100, 3), 40, np.uint8)
    boxes = np.zeros((40, 4), np.float32)
    for picture, box in zip(rgb, boxes, strict=True):
        x0, y0 = rng.integers(5, 55, 2)
        x1, y1 = x0 + rng.integers(15, 40), y0 + rng.integers(12, 24)
        picture[y0:y1, x0:x1] = RED
        box[:] = x0, y0, x1, y1
    beside = np.array([localiser_pictures._largest_beside(box, 100, 80) for box in boxes])
    return Frames(rgb, boxes, beside)


def test_placed_hands_lie_in_their_boxes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(localiser_pictures, "recolour", lambda view, rng: np.asarray(view))
    placed = place_hands(painted_frames(), np.random.default_rng(1), num=200, without_hand=0.25)
    assert 30 <= (~placed.has_hand).sum() <= 70
    shares = []
    for pixels, box, has_hand in zip(placed.pixels, placed.box, placed.has_hand, strict=True):
        rows, columns = np.nonzero(pixels[..., 0].astype(int) - pixels[..., 1] > 120)
        assert (len(rows) > 0) == has_hand
        if has_hand:
            np.testing.assert_allclose(box, [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1], atol=1.6)
            shares.append((box[2:] - box[:2]).max())
    assert min(shares) < 12 and max(shares) > 90


def test_the_same_generator_gives_the_same_pictures() -> None:
    first, second, other = (place_hands(painted_frames(), np.random.default_rng(seed), num=8) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.pixels, second.pixels)
    assert (first.pixels != other.pixels).any()


def test_frames_of_a_data_set_keep_their_boxes() -> None:
    frames = gather_frames(make_sequence(n, size=(64, 48)) for n in range(4))
    labels = make_sequence(0, size=(64, 48)).labels
    np.testing.assert_allclose(frames.box[0], np.clip(labels.box_px[0] + 0.5, 0, [64, 48, 64, 48]), atol=1e-5)
    for box, beside in zip(frames.box, frames.beside, strict=True):
        assert overlap(box, beside.astype(np.float32)) == 0


def test_training_lowers_the_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build_localiser, "BATCH", 16)
    torch.manual_seed(0)
    frames, network = painted_frames(), HandFinder()
    held_out = place_hands(frames, np.random.default_rng(9), num=64)

    def loss() -> float:
        with torch.no_grad():  # with the statistics of these pictures: those that training keeps lag behind for a hundred steps
            return float(localiser_loss(*network.train()(as_input(held_out)), torch.as_tensor(held_out.box)))

    with one_thread():
        before = loss()
        train_localiser(frames, network, num_steps=20, rng=np.random.default_rng(0))
        assert loss() < before / 2


def test_a_localiser_is_kept_and_read_back(tmp_path: Path) -> None:
    torch.manual_seed(1)
    network = HandFinder().half().float()  # it is kept in half precision
    save_localiser(network, tmp_path / "a.safetensors")
    picture = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    box, heat = LearnedLocaliser(network).detect(picture)
    again, heat_again = load_localiser(tmp_path / "a.safetensors").detect(picture)
    np.testing.assert_array_equal(box, again)
    assert heat == heat_again
    with pytest.raises(UserError, match="no such localiser"):
        load_localiser(tmp_path / "b.safetensors")
    (tmp_path / "b.safetensors").write_bytes(b"no weights")
    with pytest.raises(UserError, match="not a localiser"):
        load_localiser(tmp_path / "b.safetensors")


def test_the_shipped_localiser_is_small_and_finds_hands_of_new_clips(tmp_path: Path) -> None:
    """Clips that it was not made with: most of their hands are found, in boxes that overlap by half. docs/benchmarks/localise.md measures it."""
    assert SHIPPED.stat().st_size < 1_000_000
    generate_dataset(small_config(seed=77, occluder={"hand": 0.0}, clip={"frames": 2, "size": (160, 120)}), tmp_path)
    localiser = load_localiser()
    found = []
    for sequence in open_dataset(tmp_path):
        for rgb, box in zip(sequence.rgb, sequence.labels.box_px, strict=True):
            said = localiser(rgb)
            found.append(said is not None and overlap(said, box) >= 0.5)
    assert np.mean(found) >= 0.7


def test_the_threshold_is_the_one_that_the_measurements_choose() -> None:
    """Of the validation table: hands not missed less false alarms, in per cent."""
    lines = (Path(__file__).parent.parent / "docs/benchmarks/localise.md").read_text(encoding="utf-8").split("Validation split:")[1].split("Test splits")[0].splitlines()
    rows = np.array([[float(cell.strip(" %")) for cell in line.strip("|").split("|")] for line in lines if line.startswith("| 0")])
    threshold, _, missed, alarms = rows.T
    assert threshold[(100 - missed - alarms).argmax()] == THRESHOLD
