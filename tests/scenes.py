"""Scenes whose pictures are known beforehand: planes, spheres, columns, and knobbly blobs with parts, about as a hand has them."""

from typing import Any

import numpy as np
import trimesh

from seqgen.camera import Camera
from seqgen.scene.scene import Background, Light, Scene, Surface

Array = np.ndarray


def make_camera(kind: Any = "perspective", *, focal: float = 80.0, centre: tuple[float, float] = (30.2, 24.7), size: tuple[int, int] = (64, 48), frames: int = 1) -> Camera:
    """A camera that stands still; `focal` is the scale in px/m of a weak perspective one."""
    intrinsics = np.array([[focal, 0, centre[0]], [0, focal, centre[1]], [0, 0, 1.0]])
    return Camera(kind, np.tile(intrinsics, (frames, 1, 1)), size)


def make_light(frames: int = 1, *, ambient: float = 1.0, directions: Any = (), colour: float = 0.0) -> Light:
    """White lights, the same in all frames; by default the light in which every surface shows its albedo."""
    directions = np.reshape(np.asarray(directions, np.float32), (-1, 3))
    directions = directions / np.linalg.norm(directions, axis=1, keepdims=True)
    tiled = np.tile(directions, (frames, 1, 1))
    return Light(np.full((frames, 3), ambient, np.float32), tiled, np.full_like(tiled, colour))


def make_background(frames: int = 1, *, photo: Any = None, shift: tuple[float, float] = (0.0, 0.0)) -> Background:
    """A photo, black unless given, whose pixel `shift` is seen at pixel (0, 0)."""
    photo = np.zeros((4, 4, 3), np.uint8) if photo is None else photo
    return Background(photo, np.tile(np.array([[1, 0, shift[0]], [0, 1, shift[1]]], np.float32), (frames, 1, 1)))


def make_scene(
    vertices_m: Any,
    faces: Any,
    camera: Camera,
    *,
    normals: Any = None,
    colours: Any = 1.0,
    parts: Any = 1,
    weights: Any = 1.0,
    light: Light | None = None,
    background: Background | None = None,
    samples: int = 1,
) -> Scene:
    """A scene of one mesh; what is the same for all vertices, faces or frames may be given once."""
    frames, faces = len(camera.intrinsics), np.asarray(faces, np.int32)
    vertices_m = np.broadcast_to(np.asarray(vertices_m, np.float32), (frames, *np.shape(vertices_m)[-2:]))
    normals = np.broadcast_to(np.asarray([0, 0, -1] if normals is None else normals, np.float32), vertices_m.shape)
    colours = np.broadcast_to(np.asarray(colours, np.float32), vertices_m.shape[1:])
    parts = np.broadcast_to(np.asarray(parts, np.uint8), (len(faces), 3))
    weights = np.broadcast_to(np.asarray(weights, np.float32), (len(faces), 3, 3))
    surface = Surface(vertices_m, normals, faces, parts, weights, colours)
    return Scene(camera, surface, light or make_light(frames), background or make_background(frames), samples)


def rays(camera: Camera) -> Array:
    """The points of the plane z = 1 that perspective pixels see, (height, width, 3)."""
    y, x = np.mgrid[: camera.size[1], : camera.size[0]]
    return np.einsum("ij,jhw->hwi", np.linalg.inv(camera.intrinsics[0]), np.stack([x, y, np.ones_like(x)]))


def quad(x: tuple[float, float], y: tuple[float, float], z: float) -> tuple[Array, Array]:
    """A rectangle that faces the camera: vertices and faces, counter-clockwise from where the camera stands."""
    vertices = np.array([[x[0], y[0], z], [x[1], y[0], z], [x[1], y[1], z], [x[0], y[1], z]])
    return vertices, np.array([[0, 2, 1], [0, 3, 2]])


def tessellated_plane(rng: np.random.Generator, normal: Any, distance_m: float, *, cells: int = 20, extent: float = 1.5) -> tuple[Array, Array]:
    """A plane normal . X = distance before the camera, cut into triangles of random shape, beyond every edge of the picture."""
    steps = np.linspace(-extent, extent, cells + 1)
    xy = np.stack(np.meshgrid(steps, steps), -1).reshape(-1, 2) + rng.uniform(-0.45, 0.45, ((cells + 1) ** 2, 2)) * (steps[1] - steps[0])
    directions = np.column_stack([xy, np.ones(len(xy))])
    row, column = np.divmod(np.arange(cells * cells), cells)
    i = row * (cells + 1) + column
    faces = np.concatenate([np.column_stack([i, i + cells + 1, i + 1]), np.column_stack([i + 1, i + cells + 1, i + cells + 2])])
    return directions * (distance_m / (directions @ np.asarray(normal)))[:, None], rng.permutation(faces)


def sphere(centre_m: Any, radius_m: float, *, subdivisions: int = 5) -> tuple[Array, Array, Array]:
    """Vertices, faces and exact normals."""
    mesh = trimesh.creation.icosphere(subdivisions=subdivisions)
    return np.asarray(centre_m) + radius_m * mesh.vertices, mesh.faces, mesh.vertices


def sphere_depth(camera: Camera, centre_m: Any, radius_m: float) -> Array:
    """z of the nearest point of a sphere that a perspective pixel sees, NaN where there is none."""
    ray = rays(camera)
    along, square = ray @ np.asarray(centre_m), (ray**2).sum(-1)
    with np.errstate(invalid="ignore"):
        return (along - np.sqrt(along**2 - square * (np.dot(centre_m, centre_m) - radius_m**2))) / square


def blob_scene(seed: int, kind: Any = "perspective", *, frames: int = 3, size: tuple[int, int] = (160, 128), subdivisions: int = 4, samples: int = 2) -> Scene:
    """A turning blob with knobs, sixteen parts that blend into each other, two lights and a photo."""
    rng = np.random.default_rng(seed)
    ball = trimesh.creation.icosphere(subdivisions=subdivisions)
    knobs, part_centres = (points / np.linalg.norm(points, axis=1, keepdims=True) for points in rng.normal(size=(2, 16, 3)))
    swell = 1 + 0.8 * np.exp(-((ball.vertices[:, None] - knobs[:5]) ** 2).sum(-1) / 0.1).sum(-1)
    mesh = trimesh.Trimesh(0.055 * swell[:, None] * ball.vertices, ball.faces, process=False)
    likeness = np.exp(-((ball.vertices[:, None] - part_centres) ** 2).sum(-1) / 0.1)
    weights = likeness / likeness.sum(1, keepdims=True)
    parts = np.argsort(-weights[mesh.faces].mean(1), axis=1)[:, :3]
    turns = np.stack([trimesh.transformations.rotation_matrix(0.4 * t + seed, rng.normal(size=3))[:3, :3] for t in range(frames)])
    vertices = np.einsum("tij,vj->tvi", turns, mesh.vertices) + rng.uniform([-0.02, -0.02, 0.4], [0.02, 0.02, 0.5], (frames, 1, 3))
    focal = 260.0 if kind == "perspective" else 600.0
    return make_scene(
        vertices,
        mesh.faces,
        make_camera(kind, focal=focal, centre=(size[0] / 2 - 3.3, size[1] / 2 + 4.1), size=size, frames=frames),
        normals=np.einsum("tij,vj->tvi", turns, mesh.vertex_normals),
        colours=0.5 + 0.3 * np.sin(ball.vertices @ rng.normal(size=(3, 3))),
        parts=parts + 1,
        weights=np.take_along_axis(weights[mesh.faces], parts[:, None], 2),
        light=make_light(frames, ambient=0.3, directions=rng.normal(size=(2, 3)), colour=0.5),
        background=make_background(frames, photo=rng.integers(0, 256, (40, 50, 3), dtype=np.uint8), shift=(-10.5, 3.25)),
        samples=samples,
    )
