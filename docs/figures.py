"""The figures of docs/motion.md: `python docs/figures.py [--rows N]` draws them anew into docs/images/motion_*.png.

Needs matplotlib (`pip install -e ".[test]"`). The first run makes the built-in bank and its graph; half a minute after that, most of it the t-SNE.
The same pictures for the same code and versions: all draws come from SEED.
"""

import argparse
from pathlib import Path

import numpy as np
from jaxtyping import Float

from seqgen.files import cache_folder
from seqgen.poses import load_built_in_bank
from seqgen.poses.bank import PoseBank
from seqgen.poses.flow import FlowConfig, PoseFlow, draw_flow, draw_whole_walk
from seqgen.poses.graph import NeighbourGraph, load_graph
from seqgen.poses.motion import in_pause, steps_mm
from seqgen.poses.paper import PaperLaw, draw_paper_flow
from seqgen.skeleton import FINGERS

Array = np.ndarray
IMAGES = Path(__file__).parent / "images"
SEED = 7
FPS = 30.0
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#000000")  # Okabe and Ito's, told apart by colour-blind readers
GREY = "#9a9a9a"
STYLE = {
    "font.size": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.25,
    "axes.titlesize": 8,
    "legend.frameon": False,
    "savefig.dpi": 130,
}
MOVING_ROWS = 4  # a flow of ten frames in which Eq. 5-7 visit so many poses is drawn: of 1,000, 72 % visit fewer, 54 % only one
STEP_CLIPS, STEP_FRAMES = 1000, 30
TSNE_ROWS, TSNE_WALKS, TSNE_WALK_POINTS = 4000, 4, 60


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000, help="rows of the built-in bank")
    bank = load_built_in_bank(parser.parse_args().rows)
    graph = load_graph(bank, cache_folder(), where=bank.name)
    import matplotlib

    matplotlib.use("Agg")
    matplotlib.rcParams.update(STYLE)
    IMAGES.mkdir(exist_ok=True)
    for name, draw in {"angles": draw_angles, "steps": draw_steps, "tsne": draw_tsne}.items():
        draw(bank, graph).savefig(IMAGES / f"motion_{name}.png", bbox_inches="tight", metadata={"Software": None})


def stream(number: int) -> np.random.Generator:
    return np.random.default_rng(np.random.SeedSequence(SEED, spawn_key=(number,)))


def flexion_deg(joints_m: Float[Array, "frames 21 3"]) -> Float[Array, "frames 5"]:
    """How far each digit is bent at its middle joint (thumb: IP, fingers: PIP): the angle between the bones on either side."""
    middle = np.array([3, 6, 10, 14, 18])
    before, after = (joints_m[:, middle + a] - joints_m[:, middle + b] for a, b in ((0, -1), (1, 0)))
    cosine = (before * after).sum(-1) / np.linalg.norm(before, axis=-1) / np.linalg.norm(after, axis=-1)
    return np.degrees(np.arccos(np.clip(cosine, -1, 1)))


def draw_angles(bank: PoseBank, graph: NeighbourGraph):
    """Joint-angle curves of a walk above those of the published flows."""
    from matplotlib import pyplot

    walk = draw_flow(bank, graph, FlowConfig(median_step_mm=1.8, spread=0.0), frames=120, stride=1, fps=FPS, rng=stream(0))
    laws = {f"{kind}, n = {n}": PaperLaw(kind, steps=n) for kind, n in (("paper", 10), ("paper", 30), ("paper-script", 30))}
    ends = next(number for number in range(1000) if len(set(draw_paper_flow(bank, laws["paper, n = 10"], frames=10, fps=FPS, rng=stream(number)).source)) >= MOVING_ROWS)
    figure = pyplot.figure(figsize=(7.2, 4.2), layout="constrained")
    grid = figure.add_gridspec(2, 3)
    axes = figure.add_subplot(grid[0, :])
    draw_curves(axes, walk, "walk: a clip of four seconds (shaded: drawn pauses)")
    shade_pauses(axes, walk)
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
    for column, (name, law) in enumerate(laws.items()):
        below = figure.add_subplot(grid[1, column], sharey=axes)
        draw_curves(below, draw_paper_flow(bank, law, frames=law.steps, fps=FPS, rng=stream(ends)), name)
        below.label_outer()
    return figure


def draw_curves(axes, flow: PoseFlow, title: str) -> None:
    """One curve a digit, a dot a frame where frames are few."""
    for digit, colour, angle in zip(FINGERS, COLOURS, flexion_deg(flow.joints_m).T, strict=True):
        axes.plot(angle, color=colour, label=digit, lw=1.3, marker="." if len(angle) <= 30 else None, ms=3)
    axes.set(title=title, xlabel="frame", ylabel="bend of thumb IP,\nfinger PIP, degrees", xlim=(0, len(angle) - 1))


def shade_pauses(axes, flow: PoseFlow) -> None:
    edges = np.flatnonzero(np.diff(np.r_[False, flow.paused, False]))
    for first, after in edges.reshape(-1, 2):
        axes.axvspan(first - 0.5, after - 0.5, color=GREY, alpha=0.25, lw=0)


def draw_steps(bank: PoseBank, graph: NeighbourGraph):
    """Histograms of step sizes and of clips' mean steps beside the distribution asked for."""
    from matplotlib import pyplot

    config = FlowConfig()
    flows = [draw_flow(bank, graph, config, frames=STEP_FRAMES, stride=1, fps=FPS, rng=stream(clip)) for clip in range(STEP_CLIPS)]
    moving = [steps_mm(flow.joints_m)[~in_pause(flow.paused)] for flow in flows]
    found = {"steps": np.concatenate(moving), "mean steps of clips": np.array([steps.mean() for steps in moving if len(steps)])}
    figure, panels = pyplot.subplots(1, 2, figsize=(7.2, 2.6), sharex=True, sharey=True, layout="constrained")
    bins = np.geomspace(0.02, 40, 56)
    middles = np.sqrt(bins[1:] * bins[:-1])
    asked = np.exp(-(np.log(middles / config.median_step_mm) ** 2) / (2 * config.spread**2)) / (config.spread * np.sqrt(2 * np.pi))
    for axes, (name, values) in zip(panels, found.items(), strict=True):
        counts, _ = np.histogram(values, bins)
        axes.bar(bins[:-1], counts / len(values) / np.diff(np.log(bins)), np.diff(bins), align="edge", color=COLOURS[0], alpha=0.55, label=f"walk: {name}")
        axes.plot(middles, asked, color=COLOURS[1], lw=1.6, label=f"asked: median {config.median_step_mm:g} mm,\nspread {config.spread:g}")
        axes.set(xscale="log", xlabel="mean joint step, mm per 1/30 s", xlim=(bins[0], bins[-1]))
        axes.set_xticks([0.1, 1, 10], ["0.1", "1", "10"])
        axes.legend(loc="upper left", fontsize=7)
    panels[0].set(ylabel="density over log step", ylim=(0, 1.4 * max(axes.get_ylim()[1] for axes in panels)))
    return figure


def draw_tsne(bank: PoseBank, graph: NeighbourGraph):
    """A map of the bank (a sample) with whole walks in it."""
    from matplotlib import pyplot
    from sklearn.manifold import TSNE

    sample = stream(0).choice(len(bank), min(TSNE_ROWS, len(bank)), replace=False)
    walks = [draw_whole_walk(bank, graph, FlowConfig(spread=0.0), fps=FPS, rng=stream(number)) for number in range(TSNE_WALKS)]
    ways = [walk.joints_m[np.linspace(0, len(walk.joints_m) - 1, TSNE_WALK_POINTS).round().astype(int)] for walk in walks]
    poses = np.concatenate([bank.joints_m[sample], *ways]).reshape(-1, 63)
    placed = TSNE(perplexity=30, init="pca", random_state=0).fit_transform(1e3 * poses)
    rows, ways = placed[: len(sample)], np.split(placed[len(sample) :], TSNE_WALKS)
    figure, axes = pyplot.subplots(figsize=(5.4, 4.6), layout="constrained")
    axes.scatter(*rows.T, s=1.2, color=GREY, alpha=0.45, lw=0, label=f"{len(sample):,} of the bank's {len(bank):,} poses", rasterized=True)
    for number, (way, colour) in enumerate(zip(ways, COLOURS, strict=False)):
        axes.plot(*way.T, color=colour, lw=1.0, marker=".", ms=3, label=f"walk {number + 1}")
        axes.plot(*way[0], "o", color=colour, ms=7, mec="white")
        axes.plot(*way[-1], "s", color=colour, ms=7, mec="white")
    axes.set(title="walks from start (circle) to end (square); t-SNE of joints, mm")
    axes.set_axis_off()
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=7, markerscale=1.5)
    return figure


if __name__ == "__main__":
    main()
