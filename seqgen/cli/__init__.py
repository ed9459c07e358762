"""The command line: reads the config, calls one function for each command, prints. `seqgen --help` lists the commands.

Exit codes: 0 done; 2 the user can mend it, one line on stderr; 1 a fault of ours, with its traceback; 130 and 143 stopped by Ctrl-C and by SIGTERM.
"""

import argparse
import logging
import shutil
import sys
from pathlib import Path

from seqgen.cli import banks, benching, generating, keeping, learning
from seqgen.cli.parser import LineParser
from seqgen.cli.stopping import Stopping
from seqgen.cli.terminal import check_current_folder, mend_streams
from seqgen.config import shipped_configs
from seqgen.errors import UserError
from seqgen.store_errors import StoreError

CONFIG_KINDS = ("train", "domains")  # folders of configs beside those of `seqgen generate`
# Commands whose options are the fields of a config, not argparse's.
FIELD_COMMANDS = {
    "generate": generating.generate_command,
    "train": learning.train_command,
    "finetune": learning.finetune_command,
    "bench": benching.bench_command,
}


def main() -> None:
    """The entry point of the `seqgen` command."""
    mend_streams()
    stopping = Stopping()
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    try:
        check_current_folder()
        with stopping:
            code = run(sys.argv[1:])
    except UserError as error:
        print(f"seqgen: {error}", file=sys.stderr)
        code = 2
    except StoreError as error:
        print(f"seqgen: {error}; see to the store, then the same command goes on", file=sys.stderr)
        code = 2
    except KeyboardInterrupt:
        print("seqgen: stopped; the same command continues", file=sys.stderr)
        stopping.leave()
        code = 130
    sys.exit(code)


def run(arguments: list[str]) -> int:
    """Runs one command line; returns its exit code. UserErrors pass through."""
    if arguments[:1] and arguments[0] in FIELD_COMMANDS:
        return FIELD_COMMANDS[arguments[0]](arguments[1:])
    parser = _parser()
    known = parser.parse_args(arguments)
    if known.command is None:
        parser.print_help()
        return 0
    return known.function(known)


def _parser() -> argparse.ArgumentParser:
    parser = LineParser(prog="seqgen", description="Synthetic hand motion as training data, and the networks that learn from it.")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", parser_class=LineParser)
    generating.add_commands(commands)
    banks.add_commands(commands)
    learning.add_commands(commands)
    keeping.add_commands(commands)
    benching.add_commands(commands)

    commands.add_parser("doctor", help="what works on this machine").set_defaults(function=doctor_command)

    config = commands.add_parser("config", help="list the shipped configs, or copy one to edit")
    config.add_argument("action", choices=["list", "copy"])
    config.add_argument("name", nargs="?")
    config.add_argument("--out", type=Path, help="file to write (default: NAME.toml here)")
    config.set_defaults(function=config_command)
    return parser


def doctor_command(known: argparse.Namespace) -> int:
    """`seqgen doctor`: one line for each thing that may or may not work here."""
    from seqgen.doctor import examine

    for name, works, detail in examine():
        print(f"{'yes' if works else 'no ':3}  {name:16} {detail}")
    return 0


def config_command(known: argparse.Namespace) -> int:
    """`seqgen config`: the shipped configs; those of a kind are named with it, as `train/seqhand`."""
    shipped = {f"{kind}/{name}" if kind else name: path for kind in ("", *CONFIG_KINDS) for name, path in shipped_configs(kind).items()}
    if known.action == "list":
        for name, path in shipped.items():
            first = path.read_text(encoding="utf-8").partition("\n")[0].lstrip("# ")
            print(f"{name:20} {first}")
        return 0
    if known.name is None or known.name not in shipped:
        raise UserError(f"config copy {known.name or ''}: name one of {', '.join(shipped)}")
    out = known.out or Path(shipped[known.name].name)
    if out.exists():
        raise UserError(f"{out} is there already; choose another name with --out")
    try:
        shutil.copyfile(shipped[known.name], out)
    except OSError as error:
        raise UserError(f"{out}: cannot be written: {error.strerror}") from None
    print(out)
    return 0
