"""The commands that measure: `seqgen bench generate`."""

import argparse
import stat
from pathlib import Path
from tempfile import gettempdir
from typing import TYPE_CHECKING, Any

from seqgen.cli.generating import ALIASES
from seqgen.cli.parser import LineParser
from seqgen.config import find_config, parse_overrides, read_config, shipped_configs
from seqgen.errors import UserError
from seqgen.files import is_writable, storage_named, write_json

if TYPE_CHECKING:
    from seqgen.pipeline.bench.report import Against, Report
    from seqgen.pipeline.config import GenerateConfig


def add_commands(commands: Any) -> None:
    """Adds these commands to a parser's."""
    commands.add_parser("bench", help="how fast things go here; `seqgen bench generate --help` tells more")


def bench_command(words: list[str]) -> int:
    """`seqgen bench WHAT`."""
    what, rest = (words[0], words[1:]) if words else ("--help", [])
    if what in ("-h", "--help"):
        print("seqgen bench WHAT ...\n\n" + "\n".join(f"  {name:12} {command.__doc__.splitlines()[0]}" for name, command in BENCHES.items()))
        return 0
    if what not in BENCHES:
        raise UserError(f"bench {what}: no such measurement; known are {', '.join(BENCHES)}")
    return BENCHES[what](rest)


def generate_bench(words: list[str]) -> int:
    """the generating pipeline, stage by stage and as a whole, and against pyrender"""
    name = words.pop(0) if words and not words[0].startswith("-") else "quickstart"
    known, fields = _generate_parser().parse_known_args(words)
    if known.clips < 1 or known.rounds < 1:
        raise UserError(f"bench generate: --clips {known.clips} --rounds {known.rounds}: must be at least 1")
    if known.json:
        _check_writable(known.json)
    config, temporary = _read(name, fields), _temporary_folder()

    from seqgen.pipeline.bench.report import measure

    with storage_named(temporary, then="try again"):
        report = measure(config, clips=known.clips, rounds=known.rounds, against=known.against, cold=not known.no_cold, say=print)
    print()
    print(table(report))
    if known.json:
        _write(known.json, report.as_dict())
    return 0


def _read(name: str, fields: list[str]) -> "GenerateConfig":
    from seqgen.pipeline.config import GenerateConfig

    return read_config(GenerateConfig, find_config(name), parse_overrides(fields, ALIASES))


def _temporary_folder() -> Path:
    """Where data sets are made whose making is measured."""
    try:
        return Path(gettempdir())
    except FileNotFoundError:
        raise UserError("no folder for temporary files can be written to; set TMPDIR to one") from None


def _check_writable(path: Path) -> None:
    """A UserError where no file can be made, nor one replaced; folders that are missing can be made with it."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        mode = None
    except OSError as error:
        raise _no_file(path, error.strerror) from None
    if mode is not None and not stat.S_ISREG(mode):
        raise _no_file(path, "is a folder" if stat.S_ISDIR(mode) else "is something else than a file")
    if mode is not None and not mode & 0o222:
        raise _no_file(path, "is write-protected")
    if not is_writable(path.parent):
        raise _no_file(path, f"{path.parent} cannot be written to")


def _write(path: Path, values: dict[str, Any]) -> None:
    try:
        write_json(path, values)
    except OSError as error:
        raise _no_file(path, error.strerror) from error


def _no_file(path: Path, why: str) -> UserError:
    return UserError(f"--json {path}: {why}; name a file in a folder of yours")


def table(report: "Report") -> str:
    """The report for people."""
    stages, total = report.stages_ms, sum(report.stages_ms.values())
    lines = [f"{'stage':18} ms a frame   share", *(f"{stage:18} {took:10.3f}  {took / total:6.1%}" for stage, took in stages.items())]
    lines += [f"{'all':18} {total:10.3f}          {1e3 / total:.0f} frames/s on one core that does nothing else", ""]
    start = f"from start to first shard of {report.start_clips} clips: warm {report.start_warm_s:.1f} s" + (f", cold {report.start_cold_s:.1f} s" if report.start_cold_s else "")
    lines.append(f"whole pipeline, {report.workers} worker{'s' * (report.workers != 1)}: {report.frames_per_s:.0f} frames/s, {report.frames_per_s_per_core:.0f} a core; {start}")
    parts = ", ".join(f"{kind} {megabytes:.0f}" for kind, megabytes in sorted(report.pss_parts_mb.items()))
    lines.append(f"peak memory (PSS of all processes): {report.peak_pss_mb:.0f} MB ({parts})")
    for way, told in (("by its public interface", report.against), ("by its inner parts too", report.against_beneath)):
        lines += ["", *_compared(way, told)] if told else []
    return "\n".join(lines)


def _compared(way: str, told: "Against") -> list[str]:
    return [
        f"pyrender {way}: {told.rival_ms:.3f} ms a frame; the render stage is {told.ratio_render:.2f} times faster, the whole pipeline {told.ratio_whole:.2f} times",
        f"    both drew the same: IoU {told.agreement.iou:.5f}, depth apart by {told.agreement.depth_mm:.5f} mm in the median, "
        f"{told.agreement.depth_p99_mm:.5f} at the 99th percentile, parts alike in {told.agreement.parts:.2%} of pixels",
    ]


def _generate_parser() -> argparse.ArgumentParser:
    usage = "seqgen bench generate [CONFIG] [--clips N] [--rounds N] [--workers W] [--against pyrender] [--json FILE] [--no-cold] [--<section>.<field> VALUE ...]"
    about = f"CONFIG is a TOML file or one of: {', '.join(shipped_configs())} (default quickstart); fields are those of `seqgen generate`."
    parser = LineParser(prog="seqgen bench generate", usage=usage, description=about, allow_abbrev=False)
    parser.add_argument("--clips", type=int, default=100, metavar="N", help="clips in a round of the stages, and in a shard of the whole pipeline (default 100)")
    parser.add_argument("--rounds", type=int, default=5, metavar="N", help="rounds, of which medians are told (default 5), and shards of each worker")
    parser.add_argument("--against", choices=["pyrender"], help="draw the same scenes with pyrender too, in turn and in two ways, and tell how many times faster we are")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers here too")
    parser.add_argument("--no-cold", action="store_true", help="do not measure the start with an empty cache, which builds the graph of the poses anew")
    return parser


BENCHES = {"generate": generate_bench}
