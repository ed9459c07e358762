"""The commands for poses: bank, fit."""

import argparse
import sys
from pathlib import Path
from typing import Any

from seqgen.errors import UserError


def add_commands(commands: Any) -> None:
    """Adds these commands to a parser's."""
    bank = commands.add_parser("bank", help="check, build and look into a pose bank")
    actions = "inspect: what is in it; build: also its neighbour graph, kept in the cache; report: how walks and the published flows move on it"
    bank.add_argument("action", choices=["inspect", "build", "report"], help=actions)
    bank.add_argument("file", nargs="?", default="built-in", help="annotation file (default: the built-in bank)")
    bank.add_argument("--format", default="hands17", help="as for `poses.format`")
    bank.add_argument("--clips", type=int, default=200, metavar="N", help="clips of each kind in a report")
    bank.add_argument("--json", type=Path, metavar="FILE", help="write the report's numbers here too")
    bank.add_argument("--side", default="right", choices=["right", "left"])
    bank.set_defaults(function=bank_command)

    fit = commands.add_parser("fit", help="train the encoder from joints to finger rotations for a hand and a bank")
    fit.add_argument("file", nargs="?", default="built-in", help="annotation file (default: the built-in bank)")
    fit.add_argument("--format", default="hands17", help="as for `poses.format`")
    fit.add_argument("--side", default="right", choices=["right", "left"])
    fit.add_argument("--hand", default="open", choices=["open", "mano"])
    fit.add_argument("--mano-dir", type=Path)
    fit.add_argument("--layers", type=int, default=4, choices=[4, 7], help="4 as in the SeqHAND paper, 7 as in its script")
    fit.add_argument("--steps", type=int, default=5000)
    fit.add_argument("--out", type=Path, required=True, help="file for the weights; then `seqgen generate --hand.encoder FILE`")
    fit.set_defaults(function=fit_command)


def bank_command(known: argparse.Namespace) -> int:
    """`seqgen bank`: first-contact verdict, counts, the graph, and the motion report."""
    from seqgen.files import cache_folder, write_json
    from seqgen.pipeline.process import one_thread
    from seqgen.poses import load_built_in_bank
    from seqgen.poses.bank import PosesConfig, build_bank
    from seqgen.poses.flow_report import report_flows, table
    from seqgen.poses.formats import read_annotations
    from seqgen.poses.graph import load_graph

    recording = None
    if known.file == "built-in":
        bank = load_built_in_bank(PosesConfig().rows)
    else:
        annotations, verdict = read_annotations(Path(known.file), known.format, side=known.side)
        print(verdict)
        bank, recording = build_bank(annotations), annotations.joints_m
    print(f"{bank.name}: {len(bank):,} distinct poses, licence {bank.licence}, digest {bank.digest[:16]}")
    subjects = len(set(bank.subject.tolist()) - {-1})
    print(f"subjects: {subjects or 'not stated'}; copies in data sets: {'allowed' if bank.copies_allowed else 'not allowed'}")
    if known.action == "inspect":
        return 0
    if known.clips < 1:
        raise UserError(f"bank report: --clips {known.clips}: must be at least 1")
    with one_thread():
        graph = load_graph(bank, cache_folder(), where=bank.name, say=print)
        print(f"neighbour graph: {graph.neighbours.shape[1]} neighbours a pose, mean spacing {graph.spacing_m * 1e3:.2f} mm, in {cache_folder()}")
        if known.action == "report":
            reports = report_flows(bank, graph, num_clips=known.clips, recording=recording)
            print(table(reports))
            if known.json:
                write_json(known.json, {name: report.as_dict() for name, report in reports.items()})
    return 0


def fit_command(known: argparse.Namespace) -> int:
    """`seqgen fit`: an encoder for a hand and a bank, and how well it points bones."""
    import numpy as np
    from rich.progress import Progress

    from seqgen.hand import load_hand
    from seqgen.hand.fit import direction_errors_rad, train_encoder, write_encoder
    from seqgen.poses import load_bank, load_built_in_bank
    from seqgen.poses.bank import PosesConfig

    if known.steps < 1:
        raise UserError(f"fit: --steps {known.steps}: must be at least 1")
    hand = load_hand(known.hand, mano_dir=known.mano_dir)
    bank = load_built_in_bank(PosesConfig().rows) if known.file == "built-in" else load_bank(known.file, known.format, side=known.side)
    with Progress(disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task("training", total=known.steps)
        encoder = train_encoder(hand, bank.joints_m, num_steps=known.steps, layers=known.layers, progress=lambda step, loss: bar.update(task, completed=step))
    write_encoder(encoder, known.out)
    errors = np.degrees(direction_errors_rad(encoder, hand, bank.joints_m[:: max(1, len(bank) // 5000)]))
    print(f"{known.out}: bone directions off by {errors.mean():.2f} degrees on average, {np.quantile(errors, 0.99):.2f} at the 99th percentile")
    return 0
