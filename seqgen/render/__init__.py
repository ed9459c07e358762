"""From scenes to pictures. Libraries of rendering are imported here when asked for and not before: reading and training need none.

`device` is Warp's: "cpu" or "cuda".
"""

from typing import TYPE_CHECKING, Literal

from seqgen.render.renderer import Renderer

if TYPE_CHECKING:
    from seqgen.render.depth_sensor import DepthSensor
    from seqgen.render.sensor import Developer


def load_renderer(kind: Literal["warp", "pyrender"], device: str = "cpu", *, keep_light: bool = False) -> Renderer:
    """A renderer by name. `keep_light`: on the device, for a developer on the same one."""
    if kind == "warp":
        from seqgen.render.warp_renderer import WarpRenderer

        return WarpRenderer(device, keep_light=keep_light)
    from seqgen.render.pyrender_renderer import PyrenderRenderer

    return PyrenderRenderer()


def load_sensors(device: str = "cpu") -> tuple["Developer", "DepthSensor"]:
    """What makes pictures of light, and depth readings of depth."""
    from seqgen.render.depth_sensor import DepthSensor
    from seqgen.render.sensor import Developer

    return Developer(device), DepthSensor(device)
