"""A clip in scalars: what `meta.json` says of it."""

from seqgen.dataset.meta import build_meta
from seqgen.dataset.sequence import Labels
from seqgen.pipeline.assets import OWN, UNSTATED, Assets
from seqgen.pipeline.config import GenerateConfig
from seqgen.pipeline.labels import frames_outside, hand_box
from seqgen.pipeline.shot import Posed
from seqgen.pipeline.stage import Stage
from seqgen.scene.skin.tone import tone_name


def describe(clip: Posed, stage: Stage, labels: Labels, assets: Assets, config: GenerateConfig) -> dict[str, object]:
    """What is said of a clip before it is mirrored."""
    size, shot, scene, occluder = config.clip.size, clip.shot, stage.scene, stage.occluder
    outside = frames_outside(hand_box(shot.hand.vertices_m, shot.camera) if labels.box_px is None else labels.box_px, size)
    return build_meta(
        index=clip.index,
        split=clip.split,
        seed=config.seed,
        frames=config.clip.frames,
        fps=config.clip.stored_fps,
        size=list(size),
        flow=_of_flow(clip, assets),
        camera={"kind": shot.camera.kind, "model": config.camera.model, "viewpoint": shot.view.viewpoint, "view": clip.index - clip.lead, "frames_outside": outside},
        hand={"kind": config.hand.kind, "side": "right"},
        skin={"name": stage.skin, "tone": tone_name(stage.ita_deg), "ita_deg": stage.ita_deg},
        arm={"kind": stage.arm},
        light={"kind": config.light.kind, "num_lights": scene.light.directions.shape[1], "shadows": bool(scene.light.shadows)},
        background={"name": stage.photo.name, "source": stage.photo.source},
        occluder={"kind": occluder.kind if occluder else "none", "manner": occluder.manner if occluder else "none"},
        sensor={"kind": config.sensor.kind, "depth": config.sensor.depth},
        licences={
            "poses": assets.poses[clip.split].bank.licence,
            "hand": assets.hand.licence,
            "background": stage.photo.licence,
            "skin": UNSTATED if assets.skins[clip.split] else OWN,
            "occluder": "none" if occluder is None else UNSTATED if occluder.kind in {mesh.name for mesh in assets.meshes} else OWN,
        },
        group=clip.lead if config.camera.views > 1 else None,
    )


def _of_flow(clip: Posed, assets: Assets) -> dict[str, str | int | float | None]:
    """The motion; its rows only where the bank's licence lets them be told."""
    flow, bank = clip.flow, assets.poses[clip.split].bank
    rows = (int(bank.source_row[flow.start]), int(bank.source_row[flow.end])) if assets.store_flow else (None, None)
    return {"kind": flow.kind, "start_row": rows[0], "end_row": rows[1], "mm_per_frame": flow.step_m() * 1e3, "fps": float(flow.fps), "redraws": clip.redraws}
