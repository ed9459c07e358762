"""The commands that make data and show it: generate, preview."""

import argparse
import sys
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seqgen.config import field_table, find_config, parse_overrides, read_config, shipped_configs
from seqgen.errors import UserError
from seqgen.files import storage_named
from seqgen.places import Place, place_of

if TYPE_CHECKING:
    from seqgen.dataset import Dataset, HandSequence
    from seqgen.pipeline.config import GenerateConfig
    from seqgen.pipeline.plan import Portion

LINE_S = 0.2  # between two lines of progress, at least
ALIASES = {"pose_bank": "poses.bank", "pose_format": "poses.format", "hand": "hand.kind", "renderer": "render.renderer"}


def add_commands(commands: Any) -> None:
    """Adds these commands to a parser's."""
    commands.add_parser("generate", help="make a data set; `seqgen generate --help` lists every field of the config")

    preview = commands.add_parser("preview", help="contact sheet and animation of a data set")
    preview.add_argument("dataset", help="folder of a data set, or its URL")
    preview.add_argument("--sequences", nargs="+", metavar="ID", help="which ones (default: the first six)")
    preview.add_argument("--out", help="folder for preview.png and preview.gif (default: the data set's)")
    preview.set_defaults(function=preview_command)


def generate_command(words: list[str]) -> int:
    """`seqgen generate`: makes or continues a data set and says where it is."""
    from seqgen.pipeline.config import GenerateConfig

    if {"-h", "--help"} & set(words):
        _print_generate_help(GenerateConfig)
        return 0
    overwrite, dry = "--overwrite" in words, "--dry-run" in words
    words = [word for word in words if word not in ("--overwrite", "--dry-run")]
    name = words.pop(0) if words and not words[0].startswith("-") else None
    overrides = parse_overrides(words, ALIASES)
    out, part, shard, sequence = (_one_word(overrides, option) for option in ("out", "shard_range", "only_shard", "sequence"))
    if sequence is not None:
        if part is not None or shard is not None or overwrite or dry:
            raise UserError("command line: --sequence goes without --shard-range, --only-shard, --overwrite and --dry-run")
        return again_command(name, out, sequence, overrides)
    if part is not None and (overwrite or shard is not None):
        raise UserError(f"command line: --shard-range goes without {'--overwrite' if overwrite else '--only-shard'}: other machines work in the same folder")
    path = find_config(name or "quickstart")
    config = read_config(GenerateConfig, path, overrides)
    directory = place_of(out or Path("outputs") / path.stem)

    from seqgen.pipeline.plan import Portion, parse_range
    from seqgen.pipeline.run import generate_dataset

    portion = Portion(shard=shard) if part is None else parse_range(part)
    if dry:
        return dry_run(config, directory, portion, overwrite=overwrite)
    with _Reporter(config.sequences) as reporter:
        outcome = generate_dataset(config, directory, overwrite=overwrite, portion=portion, say=reporter.say, report=reporter.report)
    if not outcome.whole:
        print(f"{directory}: {outcome.made} sequences made; the other shards are not all there yet, so the data set is not whole")
        return 0
    print(f"{directory}: {config.sequences} sequences of {config.clip.frames} frames" + ("" if outcome.made else " were there already, whole"))
    _print_verdict(directory)
    if config.output.preview and (outcome.made or not (directory / "preview.png").exists()):
        with storage_named(directory):
            write_preview(directory, directory, list(range(min(config.output.preview, config.sequences))))
    if config.output.preview:
        print(f"{directory / 'preview.png'}: what it looks like")
    return 0


def dry_run(config: "GenerateConfig", directory: Place, portion: "Portion", *, overwrite: bool) -> int:
    """`seqgen generate --dry-run`: what the same command without it would come to; refused as that would be. Nothing is written but the cache."""
    from seqgen.pipeline.estimate import MEASURED_S, estimate_run

    say = partial(print, flush=True)
    estimate, measured = estimate_run(config, directory, portion, overwrite=overwrite, say=say)
    width, height = config.clip.size
    print(f"{estimate.sequences:,} sequences of {config.clip.frames} frames, {width} x {height} px, in {estimate.shards:,} shards: {_size(estimate.bytes)}")
    if estimate.todo_shards < estimate.shards:
        print(f"to be made of them: {estimate.todo_sequences:,} sequences in {estimate.todo_shards:,} shards: {_size(estimate.todo_bytes)}")
    stages = f"{measured.generate_s * 1e3:.1f} to generate and {measured.encode_s * 1e3:.1f} to encode"
    print(f"one sequence: {measured.clip_s * 1e3:.1f} ms on one core, {stages}; {_size(measured.bytes)} (mean of {measured.clips}, measured for {MEASURED_S:g} s)")
    print(f"time: {_duration(estimate.seconds)} on {estimate.workers} core{'s' * (estimate.workers > 1)} like this one, start and end not counted; nothing was written")
    return 0


def _size(size: float | int) -> str:
    """Bytes as a person reads them."""
    unit = min(4, max(0, len(str(round(size))) - 1) // 3)
    return f"{size / 1000**unit:,.{0 if unit == 0 else 1}f} {('bytes', 'kB', 'MB', 'GB', 'TB')[unit]}"


def _duration(seconds: float) -> str:
    """Seconds as a person reads them."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 100:
        return f"{minutes} min"
    hours = minutes / 60
    return f"{hours:.1f} h" if hours < 100 else f"{hours:,.0f} h" if hours < 10_000 else f"{hours / 24:,.0f} days"


def _print_verdict(directory: Place) -> None:
    """Whether the data set may be shared, and the first reason; dataset.json has them all."""
    from seqgen.dataset.manifest import read_manifest

    sharing = read_manifest(directory).sharing
    print(f"may be shared: {'yes' if sharing['may_be_shared'] else 'no'}, because {sharing['because'][0]}")


def again_command(name: str | None, out: str | None, sequence: str, fields: dict[str, Any]) -> int:
    """`seqgen generate DATASET --sequence ID`: one clip made again from the data set's own config, written as files and compared with what is stored."""
    from seqgen.dataset.manifest import SHARD_FOLDER
    from seqgen.pipeline.deep.again import other_members, parse_id, ready_folder, remake, write_members
    from seqgen.pipeline.deep.origin import reopen
    from seqgen.pipeline.generate import open_sources
    from seqgen.pipeline.plan import shard_of

    others = sorted(fields.keys() - {"workers"})
    if others:
        raise UserError(f"command line: --sequence takes the config from the data set, so --{others[0]} cannot be set")
    directory = _dataset_folder(name, out)
    origin = reopen(directory, print)
    index = parse_id(sequence, origin.config.sequences)
    folder = place_of(out) if out and place_of(out) != directory else Path("outputs") / f"{directory.resolve().name}-{index:08d}"
    ready_folder(folder)
    remade = remake(index, open_sources(origin.assets, origin.config), origin.config)
    write_members(remade, folder)
    print(f"{folder}: {len(remade.members)} files of sequence {remade.key}")
    shard = directory / SHARD_FOLDER / shard_of(index, origin.config)
    other = other_members(remade, shard)
    for difference in origin.differences:
        print(f"made on another platform: {difference}")
    if other is None:
        print(f"not there to be compared with: {shard}")
    else:
        print(f"the same bytes as in {shard}" if not other else f"not the bytes in {shard}: {', '.join(other)}")
    return 1 if other else 0


def _dataset_folder(name: str | None, out: str | None) -> Place:
    """The data set that `--sequence` is about: named first, by its folder or its dataset.json, else the one in --out, else that of a shipped config."""
    from seqgen.dataset.manifest import MANIFEST_NAME

    path = place_of(name or "quickstart")
    if path.name == MANIFEST_NAME and not path.is_dir():
        return path.parent
    if not isinstance(path, Path) or (name and path.is_dir()):
        return path
    if out and (name is None or (place_of(out) / MANIFEST_NAME).exists()):
        return place_of(out)
    return Path("outputs") / path.stem


def _one_word(overrides: dict[str, Any], option: str) -> str | None:
    """An option that is no field of the config, taken out of those that are."""
    there, word = option in overrides, overrides.pop(option, None)
    if there and word is None and option != "out":
        word = "none"
    if isinstance(word, list) or word == "":
        what = "one folder" if option == "out" else "one value"
        raise UserError(f"command line: --{option.replace('_', '-')} takes {what}, got {word!r}; the config's name comes first")
    return word


def preview_command(known: argparse.Namespace) -> int:
    """`seqgen preview`: pictures of chosen sequences."""
    from seqgen.dataset import open_dataset

    directory, out = (place_of(text) for text in (known.dataset, known.out or known.dataset))
    chosen = known.sequences or range(min(6, len(open_dataset(directory))))
    write_preview(directory, out, list(chosen))
    print(f"{out / 'preview.png'}\n{out / 'preview.gif'}")
    return 0


def write_preview(dataset_dir: Place, out: Place, chosen: list[str | int]) -> None:
    """preview.png and preview.gif of some sequences of a data set, in the folder `out`."""
    from seqgen.dataset import Dataset, open_dataset
    from seqgen.dataset.index import read_rows
    from seqgen.dataset.manifest import read_manifest
    from seqgen.dataset.preview import animated_gif, contact_sheet
    from seqgen.files import written_aside

    if all(isinstance(name, int) for name in chosen):  # the first few of a finished run, which may have a hundred million
        dataset = Dataset(dataset_dir, read_manifest(dataset_dir), read_rows(dataset_dir, first=max(chosen) + 1))
    else:
        dataset = open_dataset(dataset_dir)
    sequences = [_chosen(dataset, name) for name in chosen]
    with written_aside(out / "preview.png") as aside:
        contact_sheet(sequences).save(aside, format="PNG")
    with written_aside(out / "preview.gif") as aside:
        aside.write_bytes(animated_gif(sequences))


def _chosen(dataset: "Dataset", name: str | int) -> "HandSequence":
    """A sequence by its number in the index, as such or in eight digits."""
    if not str(name).isdecimal() or int(name) >= len(dataset):
        raise UserError(f"{dataset.directory}: has no sequence {name}; it holds {len(dataset)}, numbered from 0")
    return dataset[int(name)]


def _print_generate_help(model: type) -> None:
    print("seqgen generate [CONFIG] [--out DIR|URL] [--overwrite] [--<section>.<field> VALUE ...]\n")
    print(f"CONFIG is a TOML file or one of: {', '.join(shipped_configs())} (default quickstart); --out defaults to outputs/<config name>")
    print("--out may be the URL of a store, s3://bucket/folder or gs://bucket/folder, to which the workers write themselves; keys come from where its driver looks for them")
    print("The same command again continues; with more --sequences it extends what is there.\n")
    print("  --shard-range i/n    every n-th shard from the i-th on (from 0): n machines that share the folder make it together")
    print("  --only-shard K       one shard, by name or number, in this process; what it raises is shown as it is")
    print("  --dry-run            what it would come to: sequences, shards, bytes and time, from a measurement of five seconds; writes nothing")
    print("  --sequence ID        one clip of a finished data set made again and compared: seqgen generate DATASET --sequence 31415 [--out DIR]\n")
    print("Short for longer names: " + ", ".join(f"--{short.replace('_', '-')} is --{full}" for short, full in ALIASES.items()) + "\n")
    for dotted, default, text in field_table(model):
        print(f"  --{dotted.replace('_', '-'):32} {default:14} {text}")


class _Reporter:
    """A progress bar on a terminal, plain lines elsewhere."""

    def __init__(self, total: int) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        self.live, self.next_line = sys.stderr.isatty(), 0.0
        columns = (TextColumn("sequences"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[speed]}"), TimeRemainingColumn())
        self.bar = Progress(*columns, disable=not self.live)
        self.task = self.bar.add_task("", total=total, speed="")

    def __enter__(self) -> "_Reporter":
        self.bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.stop()

    def say(self, text: str) -> None:
        self.bar.console.print(text, highlight=False, markup=False, soft_wrap=True) if self.live else print(text, flush=True)

    def report(self, progress: Any) -> None:
        seconds = max(progress.seconds, 1e-9)
        speed = f"{progress.made / seconds:.1f} sequences/s, {progress.frames / seconds:.0f} frames/s"
        speed += f", {progress.failures} workers died" if progress.failures else ""
        self.bar.update(self.task, completed=progress.sequences, speed=speed)
        if not self.live and (progress.sequences == progress.total or time.monotonic() >= self.next_line):  # a large cluster makes hundreds of shards a second
            self.next_line = time.monotonic() + LINE_S
            print(f"{progress.sequences}/{progress.total} sequences, {speed}", flush=True)
