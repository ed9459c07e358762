"""Cameras one can buy: their fields of view as the makers state them, and their pictures at other sizes by the closed form of scaling and cropping."""

from typing import get_args

import numpy as np
import pytest

from seqgen.camera import Camera
from seqgen.config import build, read_toml, shipped_configs
from seqgen.errors import UserError
from seqgen.scene.view.camera_models import CAMERA_MODELS, ModelName, intrinsics_of
from seqgen.scene.view.view import CameraConfig

DEPTH_CAMERAS = ("sr300", "d435", "kinect_v1", "kinect_v2")


def angle_deg(model, across):
    """Field of view over `across` px, from the outer edge of the first pixel to that of the last."""
    return np.degrees(2 * np.arctan(across / 2 / model.focal_px[0]))


def test_every_name_is_a_camera_or_free():
    assert set(get_args(ModelName)) == {"free", *CAMERA_MODELS}


@pytest.mark.parametrize(
    ("name", "stated", "tolerance"),
    [
        *[("phone", (None, None, 79.5), 0.1), ("webcam", (None, None, 78.0), 0.1), ("headset", (64.69, None, None), 0.02), ("sr300", (68, 53.7, None), 0.5)],
        *[("kinect_v2", (70, 60, None), 0.5), ("kinect_v1", (57, 43, None), 1.6), ("d435", (87, 58, 95), 3.2)],
    ],
)
def test_fields_of_view_are_the_makers(name, stated, tolerance):
    """Horizontal, vertical, diagonal, in degrees; for the depth cameras within the tolerance between their copies."""
    model = CAMERA_MODELS[name]
    for across, degrees in zip((*model.size, np.hypot(*model.size)), stated, strict=True):
        assert degrees is None or angle_deg(model, across) == pytest.approx(degrees, abs=tolerance)


@pytest.mark.parametrize("name", CAMERA_MODELS)
def test_the_native_size_has_the_native_intrinsics(name):
    model = CAMERA_MODELS[name]
    (fx, fy), (cx, cy) = model.focal_px, model.centre_px
    np.testing.assert_allclose(intrinsics_of(model, model.size), [[fx, 0, cx], [0, fy, cy], [0, 0, 1]], rtol=1e-12)


@pytest.mark.parametrize("size", [(224, 224), (320, 240), (90, 160), (1000, 30)])
@pytest.mark.parametrize("name", CAMERA_MODELS)
def test_a_point_is_seen_where_scaling_and_cropping_the_picture_moves_it(name, size):
    """Scaled about its outer corner until it covers the size, then cut evenly left and right, above and below."""
    model, points = CAMERA_MODELS[name], np.random.default_rng(0).uniform([-0.3, -0.3, 0.4], [0.3, 0.3, 1.0], (1, 20, 3))
    native = Camera("perspective", intrinsics_of(model, model.size)[None], model.size).project(points)[0]
    scale = max(size[0] / model.size[0], size[1] / model.size[1])
    expected = (native + 0.5) * scale - (np.array(model.size) * scale - size) / 2 - 0.5
    np.testing.assert_allclose(Camera("perspective", intrinsics_of(model, size)[None], size).project(points)[0], expected, atol=1e-9)
    edges = (np.array([[-0.5, -0.5], np.array(size) - 0.5]) + 0.5 + (np.array(model.size) * scale - size) / 2) / scale  # of the cropped picture, in native px
    assert (edges[0] >= -1e-9).all() and (edges[1] <= np.array(model.size) + 1e-9).all()


def test_a_model_with_weak_perspective_is_refused():
    with pytest.raises(UserError) as caught:
        build(CameraConfig, {"model": "phone", "kind": "weak_perspective"}, where="my.toml")
    assert str(caught.value) == "my.toml: model = phone is a pinhole; kind = weak_perspective goes with model = free"


@pytest.mark.parametrize("name", CAMERA_MODELS)
def test_every_camera_has_a_shipped_config(name):
    tables = read_toml(shipped_configs()[name])
    assert build(CameraConfig, tables["camera"], where=name).model == name
    size, native = tables["clip"]["size"], CAMERA_MODELS[name].size
    assert size[0] / size[1] == pytest.approx(native[0] / native[1], rel=0.002)
    assert tuple(size) == native or name not in DEPTH_CAMERAS
