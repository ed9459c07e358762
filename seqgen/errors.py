"""The one exception that means "the user can mend this": it ends the command with one line and exit code 2."""


class UserError(ValueError):
    """A mistake in what the user gave: a config, a file, a folder. Its text says where, what, and what to do."""
