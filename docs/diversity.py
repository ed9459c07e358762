"""How pictures differ: `python docs/diversity.py DATASET` measures a data set into docs/pictures.md and docs/images/diversity.png (needs matplotlib).

The data set is `seqgen generate --sequences 2000 --labels.mask-amodal true --out outputs/pictures`; a minute.
"""

import sys
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
from figures import COLOURS, GREY, STYLE
from jaxtyping import Bool, Float
from page import LUMA, fill, save_figure, table

from seqgen.dataset import Dataset, HandSequence, open_dataset
from seqgen.dataset.sequence import is_hand
from seqgen.scene.view.view import FOREARM_CONE_RAD
from seqgen.skeleton import hand_frame

Array = np.ndarray
CONE = -np.cos(FOREARM_CONE_RAD)  # least y of a direction, in the hand's frame, from which no forearm hides the hand
CELLS_UP, CELLS_AROUND = 5, 8
TONES = {"very light": 55, "light": 41, "intermediate": 28, "tan": 10, "brown": -30}  # the lower ends of all classes but dark, degrees (Del Bino et al. 2006)
VIEWPOINTS = {"third person": COLOURS[0], "egocentric": COLOURS[1]}
SIGMAS = 3  # by which a share may miss what was asked for


@dataclass(frozen=True)
class Measured:
    """What is measured of clips: an array over clips, or clips and frames, for each field. Lengths in pixels, luma 0 to 255.

    direction       of the camera from the middle of the palm, in the hand's frame: x the little finger's side, y the fingers, z the back of the hand
    size, middle    longer side of the box around all of the hand, and its middle from the picture's
    hand_luma       mean over the hand's visible pixels, NaN where there are none
    visible         share of the hand's pixels that nothing is before; outside: is a part of the hand beyond the picture's edge?
    """

    ita_deg: Float[Array, "clips"]
    arm: Array
    occluder: Array
    viewpoint: Array
    direction: Float[Array, "clips frames 3"]
    size: Float[Array, "clips frames"]
    middle: Float[Array, "clips frames 2"]
    hand_luma: Float[Array, "clips frames"]
    picture_luma: Float[Array, "clips frames"]
    visible: Float[Array, "clips frames"]
    outside: Bool[Array, "clips frames"]
    joints_visible: Float[Array, "clips frames"]

    def seen(self, viewpoint: str) -> Bool[Array, "clips"]:
        return self.viewpoint == viewpoint.replace(" ", "_")


def report(folder: str | Path) -> None:
    """Table and figure of a data set into the page."""
    dataset = open_dataset(folder)
    measured = measure(dataset)
    fill("diversity", table(("measured", "found", "asked for", "met"), rows(measured, dataset)))
    save_figure(draw(measured), "diversity.png")


def measure(dataset: Dataset) -> Measured:
    clips = [measure_clip(clip) for clip in dataset]
    return Measured(**{field.name: np.stack([clip[field.name] for clip in clips]) for field in fields(Measured)})


def measure_clip(clip: HandSequence) -> dict[str, Array]:
    """The fields of `Measured` for one clip."""
    box, (width, height) = clip.labels.box_px, clip.meta["size"]
    luma, visible, all_of_it = clip.rgb @ LUMA, is_hand(clip.parts), clip.mask_amodal > 0
    pixels = visible.sum((1, 2))
    with np.errstate(invalid="ignore"):
        hand_luma = np.where(visible, luma, 0).sum((1, 2)) / pixels
    return {
        "ita_deg": np.array(clip.meta["skin"]["ita_deg"]),
        "arm": np.array(clip.meta["arm"]["kind"]),
        "occluder": np.array(clip.meta["occluder"]["kind"]),
        "viewpoint": np.array(clip.meta["camera"]["viewpoint"]),
        "direction": camera_direction(clip.labels.joints_m.astype(float)),
        "size": (box[:, 2:] - box[:, :2]).max(1),
        "middle": (box[:, :2] + box[:, 2:]) / 2 - (np.array([width, height]) - 1) / 2,
        "hand_luma": hand_luma,
        "picture_luma": luma.mean((1, 2)),
        "visible": pixels / np.maximum(all_of_it.sum((1, 2)), 1),
        "outside": (box < -0.5).any(1) | (box[:, 2] > width - 0.5) | (box[:, 3] > height - 0.5),
        "joints_visible": clip.labels.joints_visible.mean(1),
    }


def camera_direction(joints_m: Float[Array, "frames 21 3"]) -> Float[Array, "frames 3"]:
    """Unit vectors from the palm's middle to the camera, in the hand's frame. Right hands."""
    palm = (joints_m[:, 0] + joints_m[:, 9]) / 2
    towards = -palm / np.linalg.norm(palm, axis=-1, keepdims=True)
    return np.einsum("fck,fc->fk", hand_frame(joints_m).axes, towards)


def cell_counts(direction: Float[Array, "views 3"]) -> Float[Array, "up around"]:
    """How many directions are in each of CELLS_UP x CELLS_AROUND cells of equal area (equal steps of y and of the angle about y) outside the forearm's cone."""
    around = np.arctan2(direction[:, 0], direction[:, 2])
    bins = np.linspace(CONE, 1, CELLS_UP + 1), np.linspace(-np.pi, np.pi, CELLS_AROUND + 1)
    return np.histogram2d(direction[:, 1], around, bins)[0]


def palm_angle_deg(direction: Float[Array, "*views 3"]) -> Float[Array, "*views"]:
    """Between the palm's normal and the camera: 0 shows the palm, 180 the back of the hand."""
    return np.degrees(np.arccos(np.clip(-direction[..., 2], -1, 1)))


def rows(found: Measured, dataset: Dataset) -> list[tuple[str, str, str, str]]:
    """The table: what, found, asked for, met."""
    from scipy.stats import chisquare

    config, clips = dataset.manifest.config, len(found.ita_deg)
    side = min(config["clip"]["size"])
    mean = found.middle.mean((0, 1))
    third = found.direction[found.seen("third person"), found.direction.shape[1] // 2]
    cells = cell_counts(third)
    chance = chisquare(cells.ravel()).pvalue
    angle = palm_angle_deg(found.direction)
    some = found.occluder != "none"
    return [
        ("clips, frames", f"{clips:,}, {found.size.size:,}", "2,000 clips", met(clips >= 2000)),
        ("skin tone, ITA", spread(found.ita_deg, "{:.0f}", "°", ends=True), "below -30° to above 55°", met(found.ita_deg.min() < -30 and found.ita_deg.max() > 55)),
        ("- by class, light to dark", ", ".join(f"{100 * share:.0f}" for share in tone_shares(found.ita_deg)) + " %", "none empty", met(min(tone_shares(found.ita_deg)) > 0)),
        share_row("seen by their owner", found.seen("egocentric"), config["camera"]["egocentric"]),
        (
            "third person: clips in 40 equal cells of the sphere",
            f"{cells.min():.0f} to {cells.max():.0f}, mean {cells.mean():.1f}; chance of that {chance:.2f}",
            f"even beyond {np.degrees(FOREARM_CONE_RAD):.0f}° of the forearm",
            met(chance > 0.01),
        ),
        ("palm to camera", spread(angle, "{:.0f}", "°", ends=True), "from palm to back", met(angle.min() < 10 and angle.max() > 170)),
        ("hand's longer side, px", spread(found.size, "{:.0f}", ""), "{:.0f} to {:.0f} where drawn".format(*(side * np.array(outline_bounds(config)))), ""),
        ("hand's middle from the picture's, mean, px", f"({mean[0]:+.2f}, {mean[1]:+.2f})", "within 3", met(np.hypot(*mean) < 3)),
        ("- standard deviation, px", "({:.1f}, {:.1f})".format(*found.middle.std((0, 1))), "", ""),
        ("frames with the hand partly outside", f"{100 * found.outside.mean():.2f} %", "under 3 %", met(found.outside.mean() < 0.03)),
        ("mean luma of pictures", spread(found.picture_luma.ravel(), "{:.0f}", ""), "", ""),
        ("mean luma of the hand", spread(found.hand_luma[np.isfinite(found.hand_luma)], "{:.0f}", ""), "", ""),
        share_row("clips with something in the way", some, config["occluder"]["share"]),
        ("- frames of theirs in which it hides a twentieth", f"{100 * (found.visible[some] < 0.95).mean():.0f} %", "", ""),
        ("the hand's visible share, all frames", f"mean {100 * found.visible.mean():.1f} %; under a half in {100 * (found.visible < 0.5).mean():.1f} %", "", ""),
        ("visible joints", f"{100 * found.joints_visible.mean():.1f} %", "", ""),
        share_row("arms in a sleeve", found.arm == "sleeve", config["arm"]["sleeve"]),
    ]


def outline_bounds(config: dict) -> tuple[float, float]:
    return config["camera"]["outline"] or (0.35, 0.8)


def share_row(name: str, chosen: Bool[Array, "clips"], asked: float) -> tuple[str, str, str, str]:
    """A share of the clips, which may miss what was asked for as far as chance goes."""
    sigma = np.sqrt(asked * (1 - asked) / len(chosen))
    return name, f"{100 * chosen.mean():.1f} %", f"{100 * asked:.0f} ± {100 * SIGMAS * sigma:.1f} %", met(abs(chosen.mean() - asked) <= SIGMAS * sigma)


def tone_shares(ita_deg: Float[Array, "clips"]) -> Float[Array, "6"]:
    """Of the classes, the lightest first."""
    return np.bincount(np.digitize(-ita_deg, [-bound for bound in TONES.values()]), minlength=len(TONES) + 1) / len(ita_deg)


def spread(values: Array, form: str, unit: str, *, ends: bool = False) -> str:
    """The median between the 5th and the 95th percentile, or between the least and the most."""
    low, middle, high = (form.format(value) + unit for value in np.percentile(values, (0, 50, 100) if ends else (5, 50, 95)))
    return f"{low} to {high}, median {middle}" if ends else f"{low} to {high} (5th to 95th percentile), median {middle}"


def met(holds: bool) -> str:
    return "yes" if holds else "**no**"


def draw(found: Measured):
    """All histograms in one figure."""
    import matplotlib

    matplotlib.use("Agg")
    matplotlib.rcParams.update({**STYLE, "savefig.dpi": 110})
    from matplotlib import pyplot

    figure, panels = pyplot.subplots(3, 3, figsize=(8.4, 7.2), layout="constrained")
    draw_tones(panels[0, 0], found)
    for axes, viewpoint in zip(panels[0, 1:], VIEWPOINTS, strict=True):
        draw_sphere(axes, found.direction[found.seen(viewpoint)].reshape(-1, 3), viewpoint)
    draw_by_viewpoint(panels[1, 0], found, palm_angle_deg(found.direction), np.linspace(0, 180, 37), "palm to camera, degrees (0: palm, 180: back)")
    draw_by_viewpoint(panels[1, 1], found, found.size, np.arange(40, 225, 5), "longer side of the hand, px")
    draw_middles(panels[1, 2], found.middle.reshape(-1, 2))
    draw_lumas(panels[2, 0], found)
    draw_visible(panels[2, 1], found)
    draw_kinds(panels[2, 2], found)
    return figure


def draw_tones(axes, found: Measured) -> None:
    axes.hist(found.ita_deg, np.arange(-60, 75, 5), color=COLOURS[0], alpha=0.7)
    for bound in TONES.values():
        axes.axvline(bound, color=GREY, lw=0.8, ls="--")
    axes.set(xlabel="skin tone: typology angle, degrees (dark to light)", ylabel="clips", title="dashed: bounds of the six classes")


def draw_sphere(axes, direction: Float[Array, "views 3"], viewpoint: str) -> None:
    """A map of equal areas: the angle about the hand's axis, and the height along it."""
    around = np.degrees(np.arctan2(direction[:, 0], direction[:, 2]))
    axes.hist2d(around, direction[:, 1], (36, 24), range=((-180, 180), (-1, 1)), cmap="magma_r", cmin=1)
    axes.axhline(CONE, color=GREY, lw=0.8, ls="--")
    axes.set(title=f"camera seen from the hand, {viewpoint}", ylabel="forearm (-1) to fingers (1)")
    axes.set_xticks((-180, -90, 0, 90, 180), ("palm", "thumb", "back", "pinky", "palm"))


def draw_by_viewpoint(axes, found: Measured, values: Float[Array, "clips frames"], bins: Array, label: str) -> None:
    for viewpoint, colour in VIEWPOINTS.items():
        axes.hist(values[found.seen(viewpoint)].ravel(), bins, color=colour, alpha=0.5, label=viewpoint)
    axes.set(xlabel=label, ylabel="frames")
    axes.legend(fontsize=7)


def draw_middles(axes, middles: Float[Array, "frames 2"]) -> None:
    axes.hist2d(*middles.T, 40, range=((-112, 112), (-112, 112)), cmap="magma_r", cmin=1)
    axes.plot(*middles.mean(0), "+", color=COLOURS[0], ms=12, mew=1.5, label="mean")
    axes.set(title="middle of the hand from the picture's, px", aspect="equal")
    axes.invert_yaxis()
    axes.legend(fontsize=7)


def draw_lumas(axes, found: Measured) -> None:
    for values, colour, name in ((found.picture_luma, GREY, "pictures"), (found.hand_luma, COLOURS[1], "visible hand")):
        axes.hist(values.ravel(), np.arange(0, 261, 10), color=colour, alpha=0.6, label=name)
    axes.set(xlabel="mean luma", ylabel="frames")
    axes.legend(fontsize=7)


def draw_visible(axes, found: Measured) -> None:
    axes.hist(100 * found.visible.ravel(), np.arange(0, 105, 5), color=COLOURS[2], alpha=0.7, log=True)
    axes.set(xlabel="visible share of the hand, %", ylabel="frames (log)")


def draw_kinds(axes, found: Measured) -> None:
    """Shares of the clips."""
    shares = {f"arm: {name}": (found.arm == name).mean() for name in np.unique(found.arm)}
    shares |= {f"in the way: {name}": (found.occluder == name).mean() for name in np.unique(found.occluder) if name != "none"}
    axes.barh(list(shares), [100 * share for share in shares.values()], color=COLOURS[3], alpha=0.7)
    axes.set(xlabel="share of clips, %")
    axes.invert_yaxis()


if __name__ == "__main__":
    report(sys.argv[1])
