"""From scenes to pictures."""

from typing import Literal

from seqgen.render.renderer import Renderer


def load_renderer(kind: Literal["warp", "pyrender"], device: str = "cpu") -> Renderer:
    """A renderer by name. Its library is imported here and not before: reading and training need none. `device` is Warp's: "cpu" or "cuda"."""
    if kind == "warp":
        from seqgen.render.warp_renderer import WarpRenderer

        return WarpRenderer(device)
    from seqgen.render.pyrender_renderer import PyrenderRenderer

    return PyrenderRenderer()
