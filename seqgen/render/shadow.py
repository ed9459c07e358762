"""Where the key light's shadow map lies: an orthographic picture from the light, around all that is in the camera's picture."""

import numpy as np
from jaxtyping import Bool, Float32, Float64

from seqgen.camera import Camera
from seqgen.scene.scene import Scene

Array = np.ndarray
SHADOW_TEXELS = 256  # along a side of the map
SHADOW_BIAS_M, SHADOW_OFFSET_M = 0.0015, 0.0025  # a surface does not shade itself through the map's grain: depth spared, and how far off the surface one looks
BEYOND = 0.1  # of the picture on each side, within which vertices count as in it: their faces reach in
EVERY, FEW, SPARE = 4, 1600, 1.05  # one vertex in four says enough where there are more than a few, with some room around


def light_from_camera(scene: Scene, side: int) -> Float32[Array, "frames 4 4"]:
    """Maps points of the camera frame to x, y in texels of a map of `side` texels and z, metres away from the light.

    The map has one scale throughout the clip and holds what is in the picture.
    """
    axes = _axes_along(-scene.light.directions[:, 0].astype(float)).astype(np.float32)
    points = scene.surface.vertices_m[:, :: EVERY if scene.surface.vertices_m.shape[1] > FEW else 1]
    seen = in_picture(points, scene.camera)
    across = np.ascontiguousarray((points @ axes[:, :2].transpose(0, 2, 1)).transpose(0, 2, 1))  # reductions run along memory
    low, high = np.where(seen[:, None], across, np.float32(np.inf)).min(2), np.where(seen[:, None], across, np.float32(-np.inf)).max(2)
    low, high = (np.where(seen.any(1)[:, None], end, np.float32(0.0)) for end in (low, high))
    scale = (side - 3) / SPARE / max((high - low).max(), 1e-3)
    matrices = np.zeros((len(points), 4, 4), np.float32)
    matrices[:, :3, :3] = axes * np.array([scale, scale, 1.0])[:, None]
    matrices[:, :2, 3] = (side - 1) / 2 - scale * (low + high) / 2
    matrices[:, 3, 3] = 1
    return matrices


def in_picture(points_m: Float32[Array, "frames points 3"], camera: Camera) -> Bool[Array, "frames points"]:
    """Points in the picture or close beside it."""
    k, (width, height) = camera.intrinsics.astype(np.float32)[:, :, :, None], np.array(camera.size, np.float32)
    x, y, z = np.ascontiguousarray(points_m.transpose(2, 0, 1))
    z = z if camera.kind == "perspective" else np.float32(1)  # px lies in the picture just when px z lies in z times the picture
    right, down = x * k[:, 0, 0] + k[:, 0, 2] * z, y * k[:, 1, 1] + k[:, 1, 2] * z
    low, high = np.float32(-BEYOND), np.float32(1 + BEYOND)
    return (right > low * width * z) & (right < high * width * z) & (down > low * height * z) & (down < high * height * z)


def _axes_along(z: Float64[Array, "frames 3"]) -> Float64[Array, "frames 3 3"]:
    """Right-handed axes, as rows, with the third along z."""
    aside = np.where(np.abs(z[:, :1]) < 0.7, np.array([1.0, 0, 0]), np.array([0, 1.0, 0]))
    y = np.cross(z, aside)
    y /= np.linalg.norm(y, axis=1, keepdims=True)
    return np.stack([np.cross(y, z), y, z], 1)
