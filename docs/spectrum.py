"""How amplitude falls with frequency: `python docs/spectrum.py [CLIPS]` measures quickstart clips (400) with and without the sensor's spectrum jitter,
and what is behind their hands, into docs/pictures.md and docs/images/spectrum.png. Some 20 s a hundred clips; needs matplotlib."""

import sys

import numpy as np
from figures import COLOURS, GREY, STYLE
from jaxtyping import Float, UInt8
from page import LUMA, fill, save_figure, table

from seqgen.config import build, find_config, overlay, read_toml
from seqgen.pipeline.assets import gather_assets
from seqgen.pipeline.config import GenerateConfig
from seqgen.pipeline.generate import Sources, generate_sequence, open_sources
from seqgen.pipeline.process import one_thread
from seqgen.pipeline.streams import stream
from seqgen.scene.surroundings.background import draw_background

Array = np.ndarray
CLIPS = 400
RINGS = np.geomspace(0.012, 0.45, 25)  # bounds, cycles a pixel
MIDDLES = np.sqrt(RINGS[1:] * RINGS[:-1])
FITTED = (MIDDLES > 0.02) & (MIDDLES < 0.3)  # where the slope is fitted: below are a few waves a picture, above noise, blur and sharpening
WITH, WITHOUT, PHOTOS, TEXTURES = "pictures, with jitter", "pictures, without", "behind: photos", "behind: drawn textures"
COLOUR_OF = {WITH: COLOURS[1], WITHOUT: COLOURS[0], PHOTOS: COLOURS[2], TEXTURES: GREY}


def report(clips: int = CLIPS) -> None:
    """Table and figure into the page."""
    with one_thread():
        spectra = measure(clips)
    slopes = {name: np.array([slope(spectrum) for spectrum in found]) for name, found in spectra.items()}
    fill("spectrum", table(("amplitude spectra", "pictures", "alpha, mean", "standard deviation", "variance"), map(row, slopes.items())))
    save_figure(draw(spectra, slopes), "spectrum.png")


def measure(clips: int) -> dict[str, Float[Array, "pictures rings"]]:
    """Log amplitude spectra of the clips' middle frames."""
    jittered = build(GenerateConfig, read_toml(find_config("quickstart")), where="quickstart")
    plain = build(GenerateConfig, overlay(jittered.model_dump(), "sensor.spectrum", 0.0), where="quickstart")
    sources = open_sources(gather_assets(jittered), jittered)
    found = {name: [] for name in COLOUR_OF}
    for index in range(clips):
        for name, config in ((WITH, jittered), (WITHOUT, plain)):
            found[name].append(log_amplitude(generate_sequence(index, sources, config).rgb[config.clip.frames // 2]))
        behind, drawn = photo_behind(index, sources, plain)
        found[TEXTURES if drawn else PHOTOS].append(log_amplitude(behind))
    return {name: np.array(spectra) for name, spectra in found.items()}


def photo_behind(index: int, sources: Sources, config: GenerateConfig) -> tuple[UInt8[Array, "height width 3"], bool]:
    """A piece of the photo behind a clip, as large as a picture and about where the clip shows it, at the photo's own resolution; whether it is a texture."""
    clip, photos = config.clip, sources.assets.photos[config.split.of(index)]
    background, photo = draw_background(photos, config.background, size=clip.size, frames=clip.frames, fps=clip.fps, rng=stream(config.seed, index, "background"))
    size = np.array(clip.size)
    middle = background.photo_from_pixel[clip.frames // 2] @ [*((size - 1) / 2), 1]
    x, y = np.clip(np.rint(middle - size / 2), 0, np.array(background.photo.shape[1::-1]) - size).astype(int)
    return background.photo[y : y + size[1], x : x + size[0]], photo.drawn


def log_amplitude(rgb: UInt8[Array, "height width 3"]) -> Float[Array, "rings"]:
    """Natural log of the amplitude of the luma, averaged over rings of frequency. A Hann window keeps opposite edges from meeting."""
    luma = rgb @ LUMA
    height, width = luma.shape
    window = np.hanning(height)[:, None] * np.hanning(width)
    amplitude = np.abs(np.fft.rfft2((luma - (luma * window).sum() / window.sum()) * window))
    ring = np.digitize(np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)), RINGS).ravel()
    sums, counts = (np.bincount(ring, weights, len(RINGS) + 1)[1:-1] for weights in (amplitude.ravel(), None))
    return np.log(sums / counts)


def slope(log_amplitude: Float[Array, "rings"]) -> float:
    """The alpha of amplitude ~ frequency^-alpha that fits best."""
    return -float(np.polyfit(np.log(MIDDLES[FITTED]), log_amplitude[FITTED], 1)[0])


def row(measured: tuple[str, Float[Array, "pictures"]]) -> tuple[str, ...]:
    name, slopes = measured
    return name, str(len(slopes)), f"{slopes.mean():.2f}", f"{slopes.std(ddof=1):.2f}", f"{slopes.var(ddof=1):.3f}"


def draw(spectra: dict[str, Array], slopes: dict[str, Array]):
    """Mean spectra, how they differ, and histograms of the slopes."""
    import matplotlib

    matplotlib.use("Agg")
    matplotlib.rcParams.update({**STYLE, "savefig.dpi": 110})
    from matplotlib import pyplot

    figure, (means, deviations, alphas) = pyplot.subplots(1, 3, figsize=(10.4, 3.0), layout="constrained")
    for name, found in spectra.items():
        style = {"color": COLOUR_OF[name], "lw": 1.3, "label": name}
        means.loglog(MIDDLES, np.exp(found.mean(0)), **style)
        if name in (WITH, WITHOUT):
            deviations.semilogx(MIDDLES, (found - found[:, FITTED].mean(1, keepdims=True)).std(0), **style)
            alphas.hist(slopes[name], np.arange(0.4, 2.5, 0.1), color=COLOUR_OF[name], alpha=0.5, label=name)
    means.set(xlabel="cycles a pixel", ylabel="amplitude, mean")
    deviations.set(xlabel="cycles a pixel", ylabel="standard deviation of ln amplitude\nagainst the picture's own mean", ylim=(0, None))
    alphas.set(xlabel="alpha of a picture", ylabel="pictures")
    for axes in (means, deviations):
        axes.set_xticks([0.02, 0.05, 0.1, 0.2, 0.4], ["0.02", "0.05", "0.1", "0.2", "0.4"])
        axes.minorticks_off()
    for axes in (means, deviations, alphas):
        axes.legend(fontsize=7)
    return figure


if __name__ == "__main__":
    report(*map(int, sys.argv[1:]))
