"""Where the two wings meet: a config of the generator handed to training as a data set, `--data generate:CONFIG [--generate.<section>.<field> VALUE ...]`."""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from seqgen.config import find_config, read_config
from seqgen.errors import UserError

if TYPE_CHECKING:
    from seqgen.training.config import SourcesConfig
    from seqgen.training.sources import Live

FIELDS, NAME = "generate.", "generate:"


def generator_fields(overrides: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The fields of the generator's config under their own names, and the other overrides."""
    ours = {name for name in overrides if name.startswith(FIELDS)}
    return {name.removeprefix(FIELDS): overrides[name] for name in ours}, {name: value for name, value in overrides.items() if name not in ours}


def live_data(data: "SourcesConfig", fields: dict[str, Any], say: Callable[[str], None]) -> "Live":
    """The data sets among those of a training that are made meanwhile, by their names; `say` is told what they gather.

    UserErrors for configs that there are not, and for contradictions.
    """
    from seqgen.pipeline.config import GenerateConfig
    from seqgen.pipeline.live import GeneratedData

    live = {}
    for name in dict.fromkeys(name for name in (*data.train, *(data.validation or ())) if name.startswith(NAME)):
        config = read_config(GenerateConfig, find_config(name.removeprefix(NAME)), fields)
        if config.device != "cpu" and data.reading.readers:
            raise UserError(f"{name}: with device = {config.device} the training process makes the clips; give --data.reading.readers 0, or --generate.device cpu")
        live[name] = GeneratedData(name, config, say)
    if fields and not live:
        raise UserError(f"command line: --{FIELDS}{next(iter(fields))} is about clips that are made meanwhile; name their config, --data {NAME}quickstart")
    return live


def refuse_generated(names: Iterable[str], command: str) -> None:
    """A UserError where a command takes stored data sets only."""
    for name in names:
        if name.startswith(NAME):
            raise UserError(f"{command}: {name}: clips made meanwhile are for `seqgen train`; make a data set with `seqgen generate {name.removeprefix(NAME)}` and give its folder")
