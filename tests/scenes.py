"""Scenes whose pictures are known beforehand: planes, spheres, columns, textures, and knobbly blobs with parts, about as a hand has them."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import trimesh

from seqgen.camera import Camera
from seqgen.render import load_renderer
from seqgen.render.pyrender_renderer import why_unavailable
from seqgen.render.renderer import Renderer
from seqgen.scene.scene import Background, Light, Material, Scene, Surface, join_surfaces, plain_material, single_part_surface

Array = np.ndarray


def renderer_or_skip(name: Any) -> Renderer:
    """A renderer, or the end of a test that wants one that cannot be had here."""
    if name == "pyrender" and (reason := why_unavailable()):
        pytest.skip(reason)
    return load_renderer(name)


def make_camera(kind: Any = "perspective", *, focal: float = 80.0, centre: tuple[float, float] = (30.2, 24.7), size: tuple[int, int] = (64, 48), frames: int = 1) -> Camera:
    """A camera that stands still; `focal` is the scale in px/m of a weak perspective one."""
    intrinsics = np.array([[focal, 0, centre[0]], [0, focal, centre[1]], [0, 0, 1.0]])
    return Camera(kind, np.tile(intrinsics, (frames, 1, 1)), size)


def make_light(frames: int = 1, *, ambient: Any = 1.0, directions: Any = (), colour: Any = 0.0, shadows: bool = False) -> Light:
    """Lights that are the same in all frames; by default the light in which every surface shows its albedo. `ambient`: a level, or nine coefficients a colour."""
    coefficients = np.zeros((frames, 9, 3), np.float32)
    if np.ndim(ambient) == 0:
        coefficients[:, 0] = ambient
    else:
        coefficients[:] = ambient
    directions = np.reshape(np.asarray(directions, np.float32), (-1, 3))
    directions = directions / np.linalg.norm(directions, axis=1, keepdims=True)
    tiled = np.tile(directions, (frames, 1, 1))
    return Light(coefficients, tiled, np.broadcast_to(np.asarray(colour, np.float32), tiled.shape).copy(), shadows)


def make_background(frames: int = 1, *, photo: Any = None, shift: tuple[float, float] = (0.0, 0.0), speed: tuple[float, float] = (0.0, 0.0)) -> Background:
    """A photo, black unless given, whose pixel `shift` is seen at pixel (0, 0) of frame 0, and `speed` further in every frame after."""
    photo = np.zeros((4, 4, 3), np.uint8) if photo is None else photo
    shifts = np.array(shift) + np.arange(frames)[:, None] * speed
    maps = np.tile(np.eye(2, 3), (frames, 1, 1))
    maps[:, :, 2] = shifts
    return Background(photo, maps.astype(np.float32))


def make_scene(
    vertices_m: Any,
    faces: Any,
    camera: Camera,
    *,
    normals: Any = None,
    colours: Any = 1.0,
    parts: Any = 1,
    weights: Any = 1.0,
    uv: Any = 0.0,
    materials: tuple[Material, ...] = (plain_material(),),
    face_materials: Any = 0,
    light: Light | None = None,
    background: Background | None = None,
    samples: int = 1,
    shutter: float = 0.0,
    hand_faces: int = 0,
) -> Scene:
    """A scene of one mesh, white unless told otherwise; what is the same for all vertices, faces or frames may be given once."""
    frames, faces = len(camera.intrinsics), np.asarray(faces, np.int32)
    vertices_m = np.broadcast_to(np.asarray(vertices_m, np.float32), (frames, *np.shape(vertices_m)[-2:]))
    normals = np.broadcast_to(np.asarray([0, 0, -1] if normals is None else normals, np.float32), vertices_m.shape)
    colours = np.broadcast_to(np.asarray(colours, np.float32), vertices_m.shape[1:])
    parts = np.broadcast_to(np.asarray(parts, np.uint8), (len(faces), 3))
    weights = np.broadcast_to(np.asarray(weights, np.float32), (len(faces), 3, 3))
    uv = np.broadcast_to(np.asarray(uv, np.float32), (len(faces), 3, 2))
    face_materials = np.broadcast_to(np.asarray(face_materials, np.int32), len(faces))
    surface = Surface(vertices_m, normals, faces, parts, weights, uv, face_materials, materials, colours)
    return Scene(camera, surface, light or make_light(frames), background or make_background(frames), samples, shutter, hand_faces)


def rotation(axis: Any, angle: float) -> Array:
    """The (3, 3) matrix that turns by `angle` about an axis of any length."""
    return trimesh.transformations.rotation_matrix(angle, axis)[:3, :3]


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


def make_material(rng: np.random.Generator, size: tuple[int, int], *, bump_m: float = 0.0, reflectance: float = 0.0) -> Material:
    """A smooth random texture of (width, height) texels that repeats without a seam. `bump_m`: its highest place."""
    column, row = (2 * np.pi * np.arange(n) / n for n in size)
    waves = [np.sin(a * column + b * row[:, None] + phase) for a, b, phase in zip([1, 2, 0, 1, 3], [1, 0, 2, -1, 1], rng.uniform(0, 7, 5), strict=True)]
    levels = np.rint(160 + 80 * np.stack(waves, -1)).astype(np.uint8)
    return Material(levels[..., :3], levels[..., 3], (bump_m * waves[4]).astype(np.float32), reflectance)


def blob_scene(
    seed: int, kind: Any = "perspective", *, frames: int = 3, size: tuple[int, int] = (160, 128), subdivisions: int = 4, samples: int = 2, shutter: float = 0.0
) -> Scene:
    """A turning blob with knobs, sixteen parts that blend into each other, three textured and glossy materials, a card before and one behind, lights that
    cast shadows, and a photo that moves."""
    rng = np.random.default_rng(seed)
    ball = trimesh.creation.icosphere(subdivisions=subdivisions)
    knobs, part_centres = (points / np.linalg.norm(points, axis=1, keepdims=True) for points in rng.normal(size=(2, 16, 3)))
    swell = 1 + 0.8 * np.exp(-((ball.vertices[:, None] - knobs[:5]) ** 2).sum(-1) / 0.1).sum(-1)
    mesh = trimesh.Trimesh(0.055 * swell[:, None] * ball.vertices, ball.faces, process=False)
    likeness = np.exp(-((ball.vertices[:, None] - part_centres) ** 2).sum(-1) / 0.1)
    weights = likeness / likeness.sum(1, keepdims=True)
    parts = np.argsort(-weights[mesh.faces].mean(1), axis=1)[:, :3]
    axis = rng.normal(size=3)
    turns = np.stack([rotation(axis, 0.1 * t + seed) for t in range(frames)])
    middle = rng.uniform([-0.02, -0.02, 0.4], [0.02, 0.02, 0.5]) + np.arange(frames)[:, None, None] * [0.004, -0.003, 0.005]
    focal = 260.0 if kind == "perspective" else 600.0
    uv = 0.8 * (ball.vertices @ rng.normal(size=(3, 2)))
    scene = make_scene(
        np.einsum("tij,vj->tvi", turns, mesh.vertices) + middle,
        mesh.faces,
        make_camera(kind, focal=focal, centre=(size[0] / 2 - 3.3, size[1] / 2 + 4.1), size=size, frames=frames),
        normals=np.einsum("tij,vj->tvi", turns, mesh.vertex_normals),
        colours=0.5 + 0.3 * np.sin(ball.vertices @ rng.normal(size=(3, 3))),
        parts=parts + 1,
        weights=np.take_along_axis(weights[mesh.faces], parts[:, None], 2),
        uv=uv[mesh.faces],
        materials=(make_material(rng, (32, 24), bump_m=0.0004, reflectance=0.028), plain_material((200, 180, 160), roughness=120, reflectance=0.04), make_material(rng, (7, 64))),
        face_materials=np.digitize(ball.vertices[mesh.faces[:, 0], 2], [-0.4, 0.4]),
        light=make_light(frames, ambient=0.1 * rng.normal(size=(9, 3)) + 0.3 * np.eye(9)[:, :1], directions=[*(rng.normal(size=(2, 3)) - [0, 0, 1.5])], colour=0.5, shadows=True),
        background=make_background(frames, photo=make_material(rng, (50, 40)).albedo, shift=(-10.5, 3.25), speed=(1.5, -0.7)),
        samples=samples,
        shutter=shutter,
        hand_faces=len(mesh.faces),
    )
    cards = [card(0.04 * rng.normal(size=2), z, part, make_material(rng, (16, 16)), frames) for z, part in ((0.33, 30), (0.6, 31))]
    return replace(scene, surface=join_surfaces([scene.surface, *cards]))


def card(middle: Any, z: float, part: int, material: Material, frames: int = 1, *, half: float = 0.03) -> Surface:
    """A square of one part that faces the camera and stands still, its texture upright."""
    vertices, faces = quad((middle[0] - half, middle[0] + half), (middle[1] - half, middle[1] + half), z)
    uv = np.array([[0, 1], [1, 1], [1, 0], [0, 0]], np.float32)
    normals = np.tile(np.float32([0, 0, -1]), (frames, 4, 1))
    return single_part_surface(np.tile(vertices.astype(np.float32), (frames, 1, 1)), normals, faces.astype(np.int32), uv[faces], material, part)
