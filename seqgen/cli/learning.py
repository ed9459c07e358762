"""The commands that learn from data: train, finetune, evaluate, predict, reproduce."""

import argparse
import sys
from pathlib import Path
from typing import Any

from seqgen.cli.live import generator_fields, live_data, refuse_generated
from seqgen.config import field_table, find_config, overlay, parse_overrides, read_toml, shipped_configs
from seqgen.errors import UserError
from seqgen.places import place_of

DEPTH_UNITS = {"1mm": 1e-3, "0.1mm": 1e-4}
ALIASES = {"train_workers": "run.train_workers", "data": "data.train", "freeze": "run.freeze", "backbone_weights": "run.backbone"}


def add_commands(commands: Any) -> None:
    """Adds these commands to a parser's."""
    commands.add_parser("train", help="teach a network; `seqgen train --help` lists every field of the config")
    commands.add_parser("finetune", help="go on from a checkpoint with other data, parts of the network frozen; `seqgen finetune --help` says how")

    evaluate = commands.add_parser("evaluate", help="measure a checkpoint on a data set: report.json, tables, curves")
    evaluate.add_argument("checkpoint", type=Path, help="folder of a checkpoint")
    evaluate.add_argument("dataset", help="a data set of ours, FreiHAND, STB, or a folder with labels.json")
    evaluate.add_argument("--split", help="train, val or test, where it has them (default: test); of our own data sets also all")
    evaluate.add_argument("--out", type=Path, help="folder for the report (default: outputs/evaluate/<data set>)")
    evaluate.add_argument("--batch", type=int, default=8, help="clips at a time")
    evaluate.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    evaluate.add_argument("--mano-dir", type=Path, help="folder of your MANO files, for a network with the mano hand")
    evaluate.set_defaults(function=evaluate_command)

    predict = commands.add_parser("predict", help="hands in images, a video or a data set: predictions.json and overlays")
    predict.add_argument("checkpoint", type=Path, help="folder of a checkpoint")
    predict.add_argument("input", help="a folder of images, an image, a video, or a data set of ours")
    predict.add_argument("--out", type=Path, required=True, help="folder for predictions.json and overlays")
    predict.add_argument("--box", default="auto", help="auto: labels' boxes of a data set, else found; picture: the middle square; or a JSON file {name: [x0, y0, x1, y1]}")
    predict.add_argument("--side", default="right", choices=["right", "left"], help="of hands in pictures that do not say it")
    predict.add_argument("--stills", action="store_true", help="the images have nothing to do with one another")
    predict.add_argument("--fps", type=float, help="of images: how many there are a second; of a video: how many to take")
    predict.add_argument("--split", help="of a data set (default: all of our own, of others what is for training)")
    predict.add_argument("--depth-unit", choices=list(DEPTH_UNITS), help="of depth pictures: what one count is (default: 1mm)")
    predict.add_argument("--intrinsics", metavar="FX,FY,CX,CY", help="of depth pictures: their camera, pixels")
    predict.add_argument("--center", default="auto", help="of a network of depth: auto (found, followed, refined), or a JSON file {name: [x, y, z]} in metres")
    predict.add_argument("--no-overlays", action="store_true", help="predictions.json alone")
    predict.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    predict.add_argument("--mano-dir", type=Path, help="folder of your MANO files, for a network with the mano hand")
    predict.set_defaults(function=predict_command)

    reproduce = commands.add_parser("reproduce", help="make a table of a paper again: data, training of every row, tests, the table")
    reproduce.add_argument("table", help="its name; a wrong one lists them")
    reproduce.add_argument("--scale", default="small", choices=["small", "medium", "paper"])
    reproduce.add_argument("--data", default="seqgen", metavar="NAME", help="seqgen: data sets that are generated; or nyu, icvl, msra, hands17, freihand, stb, rhd: your own copy")
    reproduce.add_argument("--data-folder", type=Path, metavar="DIR", help="where your copy of a real data set is")
    reproduce.add_argument("--rows", nargs="+", metavar="NAME", help="these rows only (default: all)")
    reproduce.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2], metavar="N")
    reproduce.add_argument("--out", type=Path, help="folder for data, checkpoints and tables (default: outputs/reproduce/<scale>, of real data <scale>-<data>)")
    reproduce.add_argument("--jobs", type=int, metavar="N", help="trainings at once (default: what the scale suggests)")
    reproduce.add_argument("--minutes", type=float, metavar="M", help="stop cleanly after so many; the same command goes on")
    reproduce.set_defaults(function=reproduce_command)


def train_command(words: list[str]) -> int:
    """`seqgen train`: teaches a network, or goes on where an unfinished run stopped."""
    from seqgen.training.config import train_config
    from seqgen.training.run import train

    if {"-h", "--help"} & set(words):
        shipped = f"CONFIG is a TOML file or one of: {', '.join(shipped_configs('train'))} (default seqhand_small)"
        live = "--data generate:CONFIG learns from clips that are made meanwhile, by the readers, and never repeated; --generate.<section>.<field> VALUE sets fields of that config"
        _print_help("train [CONFIG] [--out DIR]", f"{shipped}; --out defaults to outputs/train/<config name>\n{live}")
        return 0
    name = words.pop(0) if words and not words[0].startswith("-") else "seqhand_small"
    path = find_config(name, "train")
    out, overrides = _out(parse_overrides(words, ALIASES))
    generated, overrides = generator_fields(overrides)
    tables = read_toml(path)
    for field, value in overrides.items():
        tables = overlay(tables, field, value)
    config = train_config(tables, where="command line" if overrides else str(path))
    for name in (*config.data.train, *(config.data.validation or ())):
        _local(name, "train")
    return _taught(lambda say, report: train(config, out or Path("outputs/train") / path.stem, live=live_data(config.data, generated, say), say=say, report=report))


def finetune_command(words: list[str]) -> int:
    """`seqgen finetune`: goes on from a checkpoint's weights on other data."""
    from seqgen.training.finetune import finetune

    if {"-h", "--help"} & set(words):
        about = "CKPT is a checkpoint's folder; the data sets are ours, FreiHAND, STB or folders with labels.json, their clips mixed and taken frame by frame;"
        about += "\n--freeze temporal (the default where there is a recurrent layer) leaves it as it is, encoder and head these parts, none nothing;"
        about += " --out defaults to outputs/finetune/<checkpoint's run>"
        _print_help("finetune --from CKPT --data DATASET [DATASET ...] [--freeze temporal|encoder|head|none] [--out DIR]", about)
        return 0
    out, given = _out(parse_overrides(words, {name: ALIASES[name] for name in ("train_workers", "backbone_weights")}))
    checkpoint, data = given.pop("from", None), _listed(given.pop("data", None))
    frozen = _listed(given.pop("freeze")) if "freeze" in given else None  # "none" is read as an empty list
    refuse_generated(data, "finetune")
    for name in data:
        _local(name, "finetune")
    if not isinstance(checkpoint, str) or not data:
        raise UserError("finetune: needs --from CKPT and --data DATASET; `seqgen finetune --help` says how")
    run = Path(checkpoint).resolve().parent.name
    return _taught(lambda **told: finetune(Path(checkpoint), data, out or Path("outputs/finetune") / run, freeze=frozen, overrides=given, **told))


def _local(name: str, command: str) -> Path:
    """A data set's folder. A UserError for a URL: every clip is read many times over."""
    place = place_of(name)
    if not isinstance(place, Path):
        raise UserError(f"{command}: {place} is a URL: data is read from folders here; copy the data set to one and give that, the same bytes are the same data set")
    return place


def _listed(value: str | list[str] | None) -> list[str]:
    """One word, several, or none at all, as a list."""
    return [] if value is None else [value] if isinstance(value, str) else value


def _out(overrides: dict[str, Any]) -> tuple[Path | None, dict[str, Any]]:
    """--out, and the other fields."""
    out = overrides.pop("out", None)
    if out is not None and (not isinstance(out, str) or not out):
        raise UserError(f"command line: --out takes one folder, got {out!r}; the config's name comes first")
    return (None if out is None else Path(out)), overrides


def _taught(teach: Any) -> int:
    """Runs a training with a bar and says what came of it."""
    from seqgen.training.progress import ProgressBar

    with ProgressBar() as bar:
        result = teach(say=bar.say, report=bar.report)
    validation = "" if result.best_mm is None else f", {result.best_mm:.2f} mm in validation at step {result.best_step}"
    print(f"{result.checkpoint}: {result.steps} steps{validation}; {result.frames_per_s:.0f} frames/s, {result.data_wait_share:.1%} of the time waiting for data")
    return 0


def evaluate_command(known: argparse.Namespace) -> int:
    """`seqgen evaluate`: the report of a checkpoint on a data set."""
    from seqgen.benchmarks import open_clips
    from seqgen.estimators.checkpoint import load_estimator
    from seqgen.estimators.views.feed import pictures_of
    from seqgen.evaluation.evaluate import evaluate
    from seqgen.evaluation.report import write_report
    from seqgen.prediction.run import check_output

    if known.batch < 1:
        raise UserError(f"evaluate: --batch {known.batch}: must be at least 1")
    _check_device(known.device)
    known.dataset = _local(known.dataset, "evaluate")
    out = known.out or Path("outputs/evaluate") / known.dataset.resolve().name
    check_output(out)
    split = _split_of(known.dataset, known.split)
    loaded = load_estimator(known.checkpoint, mano_dir=known.mano_dir, device=known.device)
    source = open_clips(known.dataset, split=split, pictures=pictures_of(loaded.input))
    about = {"checkpoint": str(known.checkpoint), "data": str(known.dataset), "split": split, "labels": getattr(source, "verdict", None)}
    print(about["labels"] or f"{known.dataset}: {len(source)} clips")
    evaluation = evaluate(loaded.estimator, loaded.input, source, batch=known.batch, device=known.device, say=print)
    report = write_report(evaluation, out, about=about)
    error_mm = report["mean_joint_error_mm"]
    measured = "in space" if report["measured"] == "absolute" else "root-relative"
    said = "no frame has a root to measure from" if error_mm is None else f"{error_mm:.2f} mm mean joint error, {measured}"
    print(f"{said}; {out / 'report.md'}, report.json, curves.svg")
    return 0


def _split_of(dataset: Path, asked: str | None) -> str | None:
    """The split to open: test unless another is asked for; None is all of a data set that has no splits, or of ours."""
    if (dataset / "labels.json").is_file():
        return asked  # refused there when it is one
    if asked == "all" and not (dataset / "dataset.json").is_file():
        raise UserError(f"{dataset}: --split all is for our own data sets; take one split of this one, train or test")
    return {None: "test", "all": None}.get(asked, asked)


def predict_command(known: argparse.Namespace) -> int:
    """`seqgen predict`: predictions.json and overlays of an input."""
    from rich.progress import Progress

    from seqgen.estimators.checkpoint import load_estimator
    from seqgen.estimators.views.cube import CubeConfig
    from seqgen.prediction.run import predict_into

    _check_device(known.device)
    known.input = _local(known.input, "predict")
    loaded = load_estimator(known.checkpoint, mano_dir=known.mano_dir, device=known.device)
    if isinstance(loaded.input, CubeConfig):
        return _predict_depth(known, loaded)
    _refuse(known, {"depth_unit": None, "intrinsics": None, "center": "auto"}, f"the network {loaded.estimator.name} sees pictures, not depth")
    box = known.box if known.box in ("auto", "picture") else Path(known.box)
    choices = {"side": known.side, "stills": known.stills, "fps": known.fps, "split": known.split, "overlays": not known.no_overlays}
    with Progress(disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task("frames", total=None)
        frames = predict_into(loaded, known.input, known.out, box=box, report=lambda done, total: bar.update(task, completed=done, total=total), **choices)
    print(f"{known.out / 'predictions.json'}: {frames} frames")
    return 0


def _predict_depth(known: argparse.Namespace, loaded: Any) -> int:
    """`seqgen predict` of a network of depth."""
    from rich.progress import Progress

    from seqgen.prediction.depth_frames import parse_intrinsics
    from seqgen.prediction.depth_run import predict_depth_into

    _refuse(known, {"box": "auto", "stills": False, "fps": None}, f"the network {loaded.estimator.name} sees depth, not pictures")
    camera = {"intrinsics": known.intrinsics and parse_intrinsics(known.intrinsics), "unit_m": DEPTH_UNITS.get(known.depth_unit)}
    center = None if known.center == "auto" else Path(known.center)
    choices = {"center": center, "side": known.side, "split": known.split, "overlays": not known.no_overlays, **camera}
    with Progress(disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task("frames", total=None)
        tell = {"report": lambda done, total: bar.update(task, completed=done, total=total), "warn": lambda text: print(text, file=sys.stderr)}
        frames, skipped = predict_depth_into(loaded, known.input, known.out, **choices, **tell)
    print(f"{known.out / 'predictions.json'}: {frames} frames{f', {skipped} of them skipped' if skipped else ''}")
    return 0


def _refuse(known: argparse.Namespace, defaults: dict[str, Any], why: str) -> None:
    """A UserError for an option that means nothing here."""
    for name, default in defaults.items():
        if getattr(known, name) != default:
            raise UserError(f"predict: --{name.replace('_', '-')}: {why}; leave it out")


def reproduce_command(known: argparse.Namespace) -> int:
    """`seqgen reproduce`: a table of a paper from data to Markdown. Exit code 1 when a piece of it failed."""
    from seqgen.reproduction.run import reproduce

    out = known.out or Path("outputs/reproduce") / (known.scale if known.data == "seqgen" else f"{known.scale}-{known.data}")
    choices = {"data": known.data, "data_folder": known.data_folder, "rows": known.rows, "seeds": known.seeds, "jobs": known.jobs, "minutes": known.minutes}
    outcome = reproduce(known.table, known.scale, out, generate=_generate, say=lambda text: print(text, flush=True), **choices)
    for piece, reason in outcome.failed.items():
        print(f"failed: {piece}: {reason}", file=sys.stderr)
    left = f", {len(outcome.left)} left: the same command goes on" if outcome.left else ""
    print(f"{outcome.markdown}: {outcome.done} trainings with their tests done{left}")
    return 1 if outcome.failed else 0


def _generate(config: str, fields: dict[str, Any], directory: Path) -> None:
    """Makes a data set for a table: where the two wings meet."""
    from seqgen.config import read_config
    from seqgen.pipeline.config import GenerateConfig
    from seqgen.pipeline.run import generate_dataset

    generate_dataset(read_config(GenerateConfig, Path(config), fields), directory, say=lambda text: print(text, flush=True))


def _check_device(device: str) -> None:
    import torch

    if device == "cuda" and not torch.cuda.is_available():
        raise UserError("--device cuda: torch finds no CUDA device here; give --device cpu")


def _print_help(usage: str, about: str) -> None:
    from seqgen.training.config import config_class

    print(f"seqgen {usage} [--<section>.<field> VALUE ...]\n\n{about}")
    print("Short for longer names: " + ", ".join(f"--{short.replace('_', '-')} is --{full}" for short, full in ALIASES.items()) + "\n")
    for dotted, default, text in field_table(config_class({}, where="seqgen")):
        print(f"  --{dotted.replace('_', '-'):36} {default:14} {text}")
