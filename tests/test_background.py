"""Photos behind the hand: how they are found, dealt, decoded and drawn, and the patch that moves over one."""

import hashlib
import logging
from itertools import combinations

import numpy as np
import pytest
from PIL import Image, ImageOps

from seqgen.config import build
from seqgen.errors import UserError
from seqgen.scene.surroundings import photos as photos_module
from seqgen.scene.surroundings import textures as textures_module
from seqgen.scene.surroundings.background import BackgroundConfig, Patch, draw_background, draw_patches, photo_from_pixel
from seqgen.scene.surroundings.photos import BUILT_IN_PHOTOS, HALF_SIZE, HALVES, MAX_PHOTO_PX, NUM_TEXTURES, PhotoRef, decode_photo, list_photos
from seqgen.scene.surroundings.textures import TEXTURE_SIZE, draw_texture, kept_textures
from seqgen.splits import SPLITS, SplitConfig

ONE = SplitConfig(train=1, val=0, test=0)
FRAME = (64, 48)


def save_photo(path, size=(80, 60), seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)).save(path)
    return PhotoRef(path.name, str(path), "mine", "me", size)


def listed(folder=None, split=ONE, frame_size=FRAME):
    return list_photos(str(folder) if folder else None, split, frame_size)


def drawn(photo, config=None, seed=0, size=FRAME, frames=6):
    return draw_background([photo], config or BackgroundConfig(), size=size, frames=frames, fps=30.0, rng=np.random.default_rng(seed))[0]


def corners(size):
    return np.array([[0, 0, 1], [size[0] - 1, 0, 1], [0, size[1] - 1, 1], [size[0] - 1, size[1] - 1, 1]], float)


# --- the patch ---


@pytest.mark.parametrize("photo_size", [(500, 400), (60, 300), (20, 16), (64, 48), (1, 1)], ids=["larger", "narrow", "smaller", "same", "one pixel"])
@pytest.mark.parametrize("size", [FRAME, (48, 64), (1, 1)])
@pytest.mark.parametrize("config", [{}, {"speed": 0.0}, {"speed": 5.0, "turn_deg": 180.0, "zoom": (0.05, 20.0)}], ids=["usual", "still", "wild"])
def test_every_pixel_lies_inside_the_photo(tmp_path, photo_size, size, config):
    photo = save_photo(tmp_path / "a.png", photo_size)
    for seed in range(20):
        background = drawn(photo, BackgroundConfig(**config), seed, size)
        assert background.photo.shape == (photo_size[1], photo_size[0], 3) and background.photo_from_pixel.dtype == np.float32
        seen = np.einsum("tij,nj->tni", background.photo_from_pixel, corners(size))
        assert (seen >= -1e-3).all() and (seen <= np.array(photo_size) - 1 + 1e-3).all()


def test_a_patchs_map_is_zoom_and_turn_about_its_middle():
    matrix = photo_from_pixel(Patch(np.array([100.0, 70.0]), 1.5, np.radians(30)), (65, 49))
    np.testing.assert_allclose(matrix @ [32, 24, 1], [100, 70])  # the frame's middle pixel
    np.testing.assert_allclose(matrix @ [42, 24, 1], [100 + 15 * np.cos(np.pi / 6), 70 + 15 * np.sin(np.pi / 6)])  # ten to the right
    np.testing.assert_allclose(matrix @ [32, 34, 1], [100 - 15 * np.sin(np.pi / 6), 70 + 15 * np.cos(np.pi / 6)])  # ten down
    assert np.linalg.det(matrix[:, :2]) == pytest.approx(1.5**2)


def test_a_clip_goes_from_the_first_patch_to_the_last(tmp_path):
    photo, config = save_photo(tmp_path / "a.png", (500, 400)), BackgroundConfig()
    for seed in range(20):
        matrix, rng = drawn(photo, config, seed, frames=9).photo_from_pixel, np.random.default_rng(seed)
        rng.random(2)  # which photo
        patches = draw_patches((500, 400), FRAME, config, 8 / 30, rng)
        for t, patch in zip((0, -1), patches, strict=True):
            np.testing.assert_allclose(matrix[t], photo_from_pixel(patch, FRAME), rtol=1e-5, atol=1e-5)
            assert 0.8 <= patch.zoom <= 2.0 and abs(patch.turn) <= np.radians(config.turn_deg)
        steps = np.diff(np.einsum("tij,nj->tni", matrix, corners(FRAME)), axis=0)
        np.testing.assert_allclose(steps, np.broadcast_to(steps[:1], steps.shape), atol=1e-3)  # every pixel glides evenly


def test_the_patch_moves_grows_and_turns_at_sub_pixel_places_and_no_way_is_preferred(tmp_path):
    photo = save_photo(tmp_path / "a.png", (700, 600))
    matrices = np.stack([drawn(photo, seed=seed).photo_from_pixel for seed in range(600)]).astype(float)
    middles = matrices @ [31.5, 23.5, 1.0]
    assert (np.abs(middles - np.round(middles)) > 0.05).mean() > 0.8
    steps = middles[:, -1] - middles[:, 0]
    assert (np.abs(steps.mean(0)) < 4 * steps.std(0) / np.sqrt(600)).all()
    assert (np.abs(middles.mean((0, 1)) - [349.5, 299.5]) < 4 * middles[:, 0].std(0) / np.sqrt(600)).all()
    growth = np.log(np.linalg.det(matrices[:, -1, :, :2]) / np.linalg.det(matrices[:, 0, :, :2])) / 2
    turn = np.arctan2(matrices[..., 1, 0], matrices[..., 0, 0])
    for change in (growth, turn[:, -1] - turn[:, 0], turn[:, 0]):
        assert np.abs(change).mean() > 0.005 and abs(change.mean()) < 4 * change.std() / np.sqrt(600)


def test_the_patchs_speed_is_as_asked(tmp_path):
    """In frame widths a second, as a share of the picture: what is asked for, since the photo leaves room."""
    photo, config = save_photo(tmp_path / "a.png", (600, 600)), BackgroundConfig(speed=0.2)
    speeds = []
    for seed in range(400):
        matrix = drawn(photo, config, seed, size=(32, 32), frames=4).photo_from_pixel.astype(float)
        zoom = np.sqrt(np.linalg.det(matrix[0, :, :2]))
        speeds.append((matrix[-1] - matrix[0]) @ [15.5, 15.5, 1] / zoom / (3 / 30) / 32)
    assert np.std(speeds) == pytest.approx(0.2, rel=0.1)


def test_a_still_patch_and_an_upright_one(tmp_path):
    photo = save_photo(tmp_path / "a.png", (500, 400))
    still = drawn(photo, BackgroundConfig(speed=0.0)).photo_from_pixel
    assert (still == still[0]).all()
    upright = drawn(photo, BackgroundConfig(turn_deg=0.0, zoom=(1.0, 1.0))).photo_from_pixel
    np.testing.assert_allclose(upright[:, :, :2], np.broadcast_to(np.eye(2), (6, 2, 2)), atol=1e-6)


def test_a_photo_smaller_than_the_frame_is_enlarged_to_fill_it(tmp_path):
    matrix = drawn(save_photo(tmp_path / "a.png", (22, 48)), BackgroundConfig(turn_deg=0.0), size=(64, 48)).photo_from_pixel
    np.testing.assert_allclose(matrix[:, 0, 0], 21 / 63, rtol=1e-5)


def test_settings_leave_the_other_draws_alone(tmp_path):
    """The same photo and the same random numbers used, whatever is set."""
    photos = [save_photo(tmp_path / f"{n}.png", (300 + n, 200)) for n in range(5)]
    for seed in range(10):
        seen = []
        for config in (BackgroundConfig(), BackgroundConfig(speed=0.0), BackgroundConfig(turn_deg=0.0, zoom=(1.0, 1.0))):
            rng = np.random.default_rng(seed)
            seen.append((draw_background(photos, config, size=FRAME, frames=4, fps=30.0, rng=rng)[1], rng.random()))
        assert len(set(seen)) == 1


def test_the_same_again(tmp_path):
    photo = save_photo(tmp_path / "a.png", (500, 400))
    np.testing.assert_array_equal(drawn(photo, seed=4).photo_from_pixel, drawn(photo, seed=4).photo_from_pixel)


@pytest.mark.parametrize("wrong", [{"speed": -1.0}, {"turn_deg": 200.0}, {"zoom": (2.0, 1.0)}, {"zoom": (0.0, 1.0)}])
def test_settings_out_of_range_are_refused(wrong):
    with pytest.raises(UserError, match=next(iter(wrong))):
        build(BackgroundConfig, wrong, where="background")


# --- built-in pictures ---


def test_built_in_pictures_have_the_size_stated_and_are_read_only():
    for photo in listed()["train"][:10]:
        pixels = decode_photo(photo.place)
        assert pixels.dtype == np.uint8 and pixels.shape == (photo.size[1], photo.size[0], 3) and pixels.std() > 10
        with pytest.raises(ValueError, match="read-only"):
            pixels[0] = 0
    assert {photo.size for photo in listed()["train"]} == {HALF_SIZE, TEXTURE_SIZE}


def test_textures_have_the_amplitude_spectrum_of_photos():
    """1 / f^a: a straight line of slope -0.7 to -2 in log-log (Field 1987) below what a lens out of focus takes; above, steeper in most."""
    coarse, fine, shades = [], [], []
    for seed in range(20):
        grey = draw_texture(np.random.default_rng(seed)).astype(float).mean(-1)
        amplitude = np.abs(np.fft.fft2(grey - grey.mean()))
        frequency = np.hypot(np.fft.fftfreq(grey.shape[0])[:, None], np.fft.fftfreq(grey.shape[1])[None])
        for slopes, least, most in ((coarse, 0.003, 0.02), (fine, 0.01, 0.06)):
            ring = (frequency > least) & (frequency < most)
            slopes.append(np.polyfit(np.log(frequency[ring]), np.log(amplitude[ring]), 1)[0])
        shades.append(grey.mean())
    assert all(-2.3 < slope < -0.9 for slope in coarse) and 40 < min(shades) and max(shades) < 190
    assert 0.45 < np.mean(np.array(fine) < -2.0) < 0.85


def test_kept_textures_are_the_drawn_ones_and_drawn_once(tmp_path, monkeypatch):
    monkeypatch.setenv("SEQGEN_CACHE", str(tmp_path))
    kept_textures.cache_clear()
    try:
        drawn = kept_textures(3)
        for seed in range(3):
            np.testing.assert_array_equal(drawn[seed], draw_texture(np.random.default_rng(seed)))
        kept_textures.cache_clear()
        monkeypatch.setattr(textures_module, "draw_texture", None)  # another process has no need of it
        again = kept_textures(3)
        np.testing.assert_array_equal(again, drawn)
        assert not again.flags.writeable and [folder.name[:9] for folder in tmp_path.iterdir()] == ["textures-"]
    finally:
        kept_textures.cache_clear()


def test_textures_differ_and_come_out_the_same_again():
    hashes = [hashlib.sha256(draw_texture(np.random.default_rng(seed)).tobytes()).hexdigest() for seed in (0, 1, 2, 0)]
    assert len(set(hashes)) == 3 and hashes[0] == hashes[3]


# --- finding and dealing ---


@pytest.mark.parametrize("counts", [(80, 10, 10), (1, 1, 1), (9, 0, 1), (1, 0, 0)])
@pytest.mark.parametrize("num_photos", [None, 3, 20])
def test_splits_share_no_photo(tmp_path, counts, num_photos):
    split = SplitConfig(train=counts[0], val=counts[1], test=counts[2])
    for number in range(num_photos or 0):
        save_photo(tmp_path / f"{number}.png")
    photos = listed(tmp_path if num_photos else None, split)
    total = num_photos or len(BUILT_IN_PHOTOS) * len(HALVES) + NUM_TEXTURES
    assert set(photos) == {name for name in SPLITS if split.counts()[name]}
    assert sum(map(len, photos.values())) == total and all(photos.values())
    if num_photos is None:
        assert all(any(not photo.drawn for photo in chosen) for chosen in photos.values())
    for a, b in combinations(photos.values(), 2):
        assert not {photo.place for photo in a} & {photo.place for photo in b}
    for name, chosen in photos.items():
        assert len(chosen) / total == pytest.approx(split.counts()[name] / sum(counts), abs=0.5 if num_photos == 3 else 0.1)


def test_dealing_depends_on_names_alone(tmp_path):
    dealt = []
    for folder, order in (("a", range(12)), ("b", range(11, -1, -1))):
        for number in order:
            save_photo(tmp_path / folder / f"{number}.png", seed=number)
        dealt.append({split: sorted(photo.name for photo in chosen) for split, chosen in listed(tmp_path / folder, SplitConfig()).items()})
    assert dealt[0] == dealt[1]


def test_fewer_photos_than_splits_are_shared_with_a_warning(tmp_path, caplog):
    save_photo(tmp_path / "a.png")
    with caplog.at_level(logging.WARNING):
        photos = listed(tmp_path, SplitConfig())
    assert [len(photos[name]) for name in SPLITS] == [1, 1, 1]
    assert "only 1 photos for 3 splits" in caplog.text


def test_folders_are_searched_deeply_and_voc_by_its_images(tmp_path):
    save_photo(tmp_path / "deep" / "er" / "A.JPG", (33, 44))
    save_photo(tmp_path / "b.png")
    (tmp_path / "notes.txt").write_text("no photo")
    assert sorted((photo.name, photo.size) for photo in listed(tmp_path)["train"]) == [("b.png", (80, 60)), ("deep/er/A.JPG", (33, 44))]
    save_photo(tmp_path / "JPEGImages" / "2007_000027.jpg")
    save_photo(tmp_path / "SegmentationClass" / "2007_000027.png")
    assert [photo.name for photo in listed(tmp_path)["train"]] == ["2007_000027.jpg"]


def test_photos_smaller_than_the_frame_are_told_once(tmp_path, caplog):
    for n, size in enumerate([(63, 48), (64, 47), (64, 48), (20, 10), (640, 480)]):
        save_photo(tmp_path / f"{n}.png", size)
    with caplog.at_level(logging.WARNING):
        photos = listed(tmp_path)["train"]
        for photo in photos:
            drawn(photo)
    assert caplog.messages == [f"background.folder {tmp_path}: 3 of 5 pictures are smaller than the frame (64 x 48) and will be enlarged"]
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        listed(frame_size=(224, 224))
        assert not caplog.messages
        listed(frame_size=(640, 480))
    assert not caplog.messages  # nobody chose the size of the built-in ones


def refusal(folder):
    with pytest.raises(UserError) as caught:
        listed(folder)
    assert str(caught.value).startswith(f"background.folder {folder}: ")
    return str(caught.value)


def test_folders_without_photos_are_refused(tmp_path):
    assert refusal(tmp_path / "missing").endswith("no such folder")
    assert "holds no readable image" in refusal(tmp_path)
    (tmp_path / "fake.jpg").write_bytes(b"not a picture")
    (tmp_path / "empty.png").touch()
    assert "holds no readable image" in refusal(tmp_path)


def test_damaged_photos_are_left_out_or_named_when_they_are_needed(tmp_path, caplog):
    whole = save_photo(tmp_path / "whole.jpg", (300, 200))
    (tmp_path / "fake.jpg").write_bytes(b"not a picture")
    (tmp_path / "cut.png").write_bytes((tmp_path / "whole.jpg").read_bytes()[:20])
    with caplog.at_level(logging.WARNING):
        photos = listed(tmp_path)["train"]
    assert [photo.name for photo in photos] == [whole.name]
    assert "fake.jpg" in caplog.text and "cut.png" in caplog.text
    (tmp_path / "half.jpg").write_bytes((tmp_path / "whole.jpg").read_bytes()[:5000])
    with pytest.raises(UserError, match=r"half\.jpg: photo cannot be decoded \(.*\); remove it from background\.folder"):
        decode_photo(str(tmp_path / "half.jpg"))


# --- decoding ---


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "P", "CMYK", "1"])
def test_every_kind_of_picture_becomes_rgb(tmp_path, mode):
    path = tmp_path / ("a.jpg" if mode == "CMYK" else "a.png")
    Image.new("RGB", (30, 20), (200, 40, 40)).convert(mode).save(path)
    pixels = decode_photo(str(path))
    assert pixels.shape == (20, 30, 3) and pixels.dtype == np.uint8


@pytest.mark.parametrize("orientation", range(1, 9))
def test_photos_are_set_upright(tmp_path, orientation):
    """As a camera held sideways says in its EXIF: then above is above, for the light too."""
    picture, exif = Image.fromarray(np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)), Image.Exif()
    exif[0x0112] = orientation
    picture.save(tmp_path / "a.png", exif=exif)
    with Image.open(tmp_path / "a.png") as image:
        upright = np.asarray(ImageOps.exif_transpose(image))
    np.testing.assert_array_equal(decode_photo(str(tmp_path / "a.png")), upright)
    assert listed(tmp_path)["train"][0].size == upright.shape[1::-1]


@pytest.mark.parametrize("ending", ["jpg", "png"])
def test_large_photos_are_made_smaller(tmp_path, ending):
    Image.linear_gradient("L").resize((3 * MAX_PHOTO_PX, MAX_PHOTO_PX)).save(tmp_path / f"a.{ending}")
    pixels = decode_photo(str(tmp_path / f"a.{ending}"))
    assert MAX_PHOTO_PX / 2 <= pixels.shape[1] <= MAX_PHOTO_PX and pixels.shape[1] == pytest.approx(3 * pixels.shape[0], rel=0.01)
    np.testing.assert_allclose(pixels[:, 400, 0], np.linspace(0, 255, len(pixels)), atol=3)


def test_photos_used_last_are_kept_within_bounds(tmp_path, monkeypatch):
    places = [save_photo(tmp_path / f"{n}.png", (100, 100)).place for n in range(4)]
    monkeypatch.setattr(photos_module, "_decoded", type(photos_module._decoded)())
    monkeypatch.setattr(photos_module, "CACHE_BYTES", 3 * 30000)
    first = decode_photo(places[0])
    for place in places[1:3]:
        decode_photo(place)
    assert decode_photo(places[0]) is first
    decode_photo(places[3])
    assert list(photos_module._decoded) == [places[2], places[0], places[3]]
    monkeypatch.setattr(photos_module, "CACHE_BYTES", 1)  # one that is too large by itself is kept while it is used
    assert decode_photo(places[1]) is decode_photo(places[1]) and list(photos_module._decoded) == [places[1]]


def test_the_users_files_may_be_called_as_the_built_in_ones(tmp_path, monkeypatch):
    """Also in the folder one stands in, where their names are all of their paths."""
    for name in ("flower-3.png", "texture-02.png", "china-left.png"):
        Image.fromarray(np.full((40, 50, 3), 7, np.uint8)).save(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    for photo in list_photos(".", SplitConfig(train=1, val=0, test=0), (16, 16))["train"]:
        assert (decode_photo(photo.place) == 7).all()
