"""An evaluation as files. Counts by `summary`, draws by `curves`; knows no metric and no network.

    DIR/report.json     all numbers, by name; null where there was nothing to measure. Written last
    DIR/report.md       the same as tables
    DIR/curves.svg      PCK and success curves
    DIR/per_frame.npz   errors of every joint of every frame, NaN where there is no label: for another mean, another curve, or a comparison clip by clip
        sources keys sides fps (clips) | clip frame crop_scale (frames) | error_mm absolute_error_mm procrustes_error_mm error_px (frames,joints)
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from seqgen.evaluation.curves import Chart, draw_charts
from seqgen.evaluation.evaluate import CROP_PX, Evaluation
from seqgen.evaluation.summary import ALIGNMENTS, AUC_MM, AUC_PX, PCK_MM, SUCCESS_MM, per_frame, summarise
from seqgen.files import write_json, written_aside

Array = np.ndarray
FEW_CLIPS = 20  # below, the bootstrap's intervals are too narrow
TABLE_MM = (5, 10, 15, 20, 30, 40, 50, 80)  # of the success table


def write_report(evaluation: Evaluation, out: Path, *, about: Mapping[str, Any], seed: int = 0) -> dict[str, Any]:
    """Writes the four files into `out`, in place of older ones, and returns what `report.json` holds. `about`: plain values, such as the checkpoint's path."""
    out.mkdir(parents=True, exist_ok=True)
    summary = summarise(evaluation, about=about, seed=seed)
    with written_aside(out / "per_frame.npz") as aside, open(aside, "wb") as file:
        np.savez_compressed(file, **per_frame(evaluation))
    for name, text in (("curves.svg", draw_charts(_charts(summary))), ("report.md", as_markdown(summary))):
        with written_aside(out / name) as aside:
            aside.write_text(text, encoding="utf-8")
    write_json(out / "report.json", summary)
    return summary


def as_markdown(summary: Mapping[str, Any]) -> str:
    """The tables of a summary."""
    interval = _interval(*summary["interval_95"]["mean_joint_error_mm"], clips=summary["counts"]["clips"])
    counts, about = summary["counts"], [[name, f"{value}"] for name, value in summary["about"].items() if isinstance(value, str | int | float)]
    success = [[label, *(summary[name][f"{t}"] for t in TABLE_MM)] for name, label in (("success_mean", "mean error"), ("success_max", "worst joint"))]
    parts = [
        f"# Evaluation on {', '.join(summary['data'])}",
        f"**{_number(summary['mean_joint_error_mm'])} mm** mean joint error, {'in space' if summary['measured'] == 'absolute' else 'root-relative'} ({interval}); "
        f"{counts['clips']} clips, {counts['frames']} frames, {counts['joints']} labelled joints.",
        _table(["", ""], about),
        _table(["alignment", "mean, mm", "median, mm", *(f"AUC {name}" for name in AUC_MM)], _alignment_rows(summary)),
        "\n".join(f"- {name}: {text}" for name, text in ALIGNMENTS.items()),
        _table(["pixels", "mean", "median", *(f"AUC {name}" for name in AUC_PX)], _pixel_rows(summary)),
        _table(["frames below", *(f"{t} mm" for t in TABLE_MM)], success),
        "![PCK and success](curves.svg)",
        _table(["motion", "error", "predicted", "true"], _motion_rows(summary)),
        _table(["joint", "mean, mm"], list(summary["per_joint_mm"].items())),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _interval(low: float | None, high: float | None, *, clips: int) -> str:
    """How sure a mean is, in words."""
    if low is None:
        return "no interval: too few clips"
    return f"95 % over clips: {_number(low)} to {_number(high)}" + (f", too narrow a guess from {clips} clips" if clips < FEW_CLIPS else "")


def _charts(summary: Mapping[str, Any]) -> list[Chart]:
    """PCK by alignment and success by mean and worst joint."""
    pck_names = {"absolute": "in space", "root_relative": "root-relative", "root_scale": "root and scale", "procrustes": "Procrustes"}
    success_names = {"success_mean": "mean of the frame", "success_max": "worst joint of the frame"}
    pck = {label: _points(summary["pck"][name]) for name, label in pck_names.items() if name in summary["pck"]}
    return [
        Chart("Correct keypoints (PCK)", "error threshold, mm", "share of joints", PCK_MM.high, pck),
        Chart("Success rate", "error threshold, mm", "share of frames", SUCCESS_MM.high, {label: _points(summary[name]) for name, label in success_names.items()}),
    ]


def _points(curve: Mapping[str, float | None]) -> tuple[Float[Array, "_"], Float[Array, "_"]]:
    return np.array([float(threshold) for threshold in curve]), np.array([np.nan if fraction is None else fraction for fraction in curve.values()], float)


def _alignment_rows(summary: Mapping[str, Any]) -> list[list[Any]]:
    return [[name, summary["mean_mm"][name], summary["median_mm"][name], *summary["auc"][name].values()] for name in ALIGNMENTS if name in summary["mean_mm"]]


def _pixel_rows(summary: Mapping[str, Any]) -> list[list[Any]]:
    px = summary["px"]
    return [["of the picture", px["picture_mean"], px["picture_median"]], [f"of a {CROP_PX} px crop", px["crop_mean"], px["crop_median"], *summary["auc"]["crop"].values()]]


def _motion_rows(summary: Mapping[str, Any]) -> list[list[Any]]:
    """Error, prediction and truth, in either unit; jitter has no error."""
    units = (("acceleration", "mm/frame²", "mm_per_frame2"), ("acceleration", "mm/s²", "mm_per_s2"), ("jitter", "mm/frame³", "mm_per_frame3"), ("jitter", "m/s³", "m_per_s3"))
    return [[f"{name}, {unit}", *(summary[name].get(f"{of}_{key}", "") for of in ("error", "predicted", "true"))] for name, unit, key in units]


def _table(head: list[str], rows: list[Any]) -> str:
    """A Markdown table; short rows are filled up, without rows there is none."""
    lines = [head, ["---"] + ["---:"] * (len(head) - 1), *([_cell(value) for value in row] + [""] * (len(head) - len(row)) for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) if rows else ""


def _cell(value: Any) -> str:
    return value.replace("|", "\\|") if isinstance(value, str) else _number(value)


def _number(value: float | None) -> str:
    """Three decimals, fewer for large numbers, a dash for none."""
    if value is None:
        return "-"
    return f"{value:.{3 if abs(value) < 10 else 2 if abs(value) < 1000 else 0}f}"
