"""Where pictures come from: folders of images, single ones, videos."""

import logging
import sys
from pathlib import Path

import numpy as np
import pytest

from seqgen.errors import UserError
from seqgen.prediction.frames import open_frames
from seqgen.prediction.predict import predict_stream
from seqgen.prediction.run import predict_into
from tests.pointer import LOADED, film, save, spot

RNG = np.random.default_rng(5)


def test_a_folder_is_one_stream_in_the_order_of_its_numbers_or_stills(tmp_path: Path) -> None:
    for number in (10, 9, 1):
        save(tmp_path / f"frame_{number}.png", spot(50 + number, 40))
    (tmp_path / "notes.txt").write_text("no image")
    stream, stills = open_frames(tmp_path), open_frames(tmp_path, stills=True)
    assert stream.names == stills.names == ("frame_1.png", "frame_9.png", "frame_10.png")
    assert [said.betas[0] for said in predict_stream(LOADED, stream)] == [1, 2, 3]
    assert [frame.time_s for frame in stream] == [None] * 3 and [frame.time_s for frame in open_frames(tmp_path, fps=10.0)] == [0.0, 0.1, 0.2]
    assert [said.betas[0] for said in predict_stream(LOADED, stills)] == [1, 1, 1]


@pytest.mark.parametrize("kind", ["cut off", "no image", "empty"])
def test_a_broken_image_is_named(tmp_path: Path, kind: str) -> None:
    whole = save(tmp_path / "a.png", RNG.integers(0, 256, (50, 50, 3), dtype=np.uint8)).read_bytes()
    (tmp_path / "a.png").write_bytes({"cut off": whole[:2000], "no image": b"hello" * 99, "empty": b""}[kind])
    with pytest.raises(UserError, match=r"a\.png: cannot be decoded as an image"):
        list(open_frames(tmp_path))


def test_inputs_that_hold_nothing_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no image"):
        open_frames(tmp_path)
    with pytest.raises(UserError, match="no such file or folder"):
        open_frames(tmp_path / "absent")
    picture = save(tmp_path / "a.png", spot(1, 1))
    film_like = tmp_path / "a.mp4"
    film_like.write_bytes(b"")
    with pytest.raises(UserError, match="--stills is for images"):
        open_frames(film_like, stills=True)
    with pytest.raises(UserError, match="--split is for data sets"):
        open_frames(picture, split="test")
    for path in (picture, film_like):
        for fps in (0.0, -1.0, float("inf"), float("nan"), 1e308, 1e-320):
            with pytest.raises(UserError, match=r"--fps .*: must be from 0\.001 to 100,000"):
                open_frames(path, fps=fps)


def test_files_of_other_formats_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    save(tmp_path / "a.png", spot(1, 1))
    (tmp_path / ".hidden").write_text("")
    with caplog.at_level(logging.WARNING):
        open_frames(tmp_path)
    assert not caplog.records
    for number in range(10, 0, -1):
        (tmp_path / f"{number}.HEIC").write_bytes(b"")
    with caplog.at_level(logging.WARNING):
        assert open_frames(tmp_path).names == ("a.png",)
    [record] = caplog.records
    assert record.message.endswith("are left out: 10 (1.HEIC, 2.HEIC, 3.HEIC, ...)")


def test_a_video_is_read_as_it_was_written(tmp_path: Path) -> None:
    pytest.importorskip("av")
    path = film(tmp_path / "a.mp4", [spot(40 + 2 * number, 40) for number in range(10)])
    frames = list(open_frames(path))
    assert [frame.name for frame in frames] == [f"{number:06d}" for number in range(10)]
    np.testing.assert_allclose([frame.time_s for frame in frames], np.arange(10) / 25, atol=1e-6)
    assert np.abs(frames[7].rgb.astype(int) - spot(54, 40)).mean() < 3
    places = np.array([said.joints_px[0] for said in predict_stream(LOADED, open_frames(path))])
    assert np.corrcoef(places[:, 0], np.arange(10))[0, 1] > 0.99
    assert [frame.name for frame in open_frames(path, fps=10.0)] == ["000000", "000003", "000005", "000008"]  # the first of each tenth of a second
    assert [frame.name for frame in open_frames(path, fps=60.0)] == [f"{number:06d}" for number in range(10)]


def test_a_video_held_sideways_comes_upright(tmp_path: Path) -> None:
    """The display matrix of a phone held upright: pixels are to be turned a quarter clockwise."""
    pytest.importorskip("av")
    path = film(tmp_path / "a.mp4", [spot(30, 20)] * 2)
    content = path.read_bytes()
    one, none, last = (1 << 16).to_bytes(4, "big"), bytes(4), (1 << 30).to_bytes(4, "big")
    plain = one + none * 3 + one + none * 3 + last
    turned = none + one + none + (-(1 << 16)).to_bytes(4, "big", signed=True) + none * 4 + last
    track = content.index(b"tkhd")
    at = content.index(plain, track)
    assert at - track < 100
    path.write_bytes(content[:at] + turned + content[at + len(plain) :])
    frame = next(iter(open_frames(path)))
    assert frame.rgb.shape == (120, 90, 3)
    assert np.unravel_index(frame.rgb[..., 1].argmax(), (120, 90)) == pytest.approx((30, 89 - 20), abs=2)


def test_what_is_no_video_is_refused_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("av")
    path = tmp_path / "a.mp4"
    path.write_bytes(RNG.bytes(5000))
    with pytest.raises(UserError, match=r"a\.mp4: cannot be decoded as a video"):
        list(open_frames(path))
    with pytest.raises(UserError, match=r"a\.mp4: cannot be decoded as a video"):
        predict_into(LOADED, path, tmp_path / "out")
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(UserError, match=r"pip install 'seqgen\[video\]'"):
        list(open_frames(path))


def test_a_video_that_breaks_off_is_used_up_to_there(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    pytest.importorskip("av")
    pictures = [RNG.integers(0, 256, (64, 64, 3), dtype=np.uint8) for _ in range(30)]
    path = film(tmp_path / "a.mp4", pictures)
    content = path.read_bytes()
    begin, end = content.index(b"mdat") + 4, content.index(b"moov") - 4
    middle = begin + (end - begin) // 2
    path.write_bytes(content[:middle] + b"\xff" * (end - middle) + content[end:])  # the table of the frames stands behind them
    assert 0 < len(list(open_frames(path))) < 30
    assert "damaged after frame" in caplog.text
