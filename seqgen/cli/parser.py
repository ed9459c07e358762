"""argparse, whose complaints are one line."""

import argparse

from seqgen.errors import UserError


class LineParser(argparse.ArgumentParser):
    """A mistake is a UserError of one line."""

    def error(self, message: str) -> None:
        raise UserError(f"{message}; `{self.prog} --help` shows the usage")
