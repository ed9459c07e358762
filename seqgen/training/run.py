"""A whole training run in a folder: claimed, made by this process or by several, left alone when it is finished. What `seqgen train` does."""

from pathlib import Path

from seqgen.errors import UserError
from seqgen.training.checkpoint import TrainResult, claim_run, release_run
from seqgen.training.config import TrainConfig
from seqgen.training.sources import NONE, Live
from seqgen.training.train import Report, Say, quiet, teach


def train(config: TrainConfig, out: Path, *, live: Live = NONE, say: Say = quiet, report: Report = quiet) -> TrainResult:
    """Trains in the folder `out`, or continues an unfinished run of this config there; a finished one is left alone.

    `live`: data sets made while they are learned from, by the names that `config.data` has for them; their content is part of what the run is.

    UserError: a folder of another config or of other files, clips or checkpoints that do not fit, a loss that is not finite.
    """
    out = Path(out)
    was_there = out.exists()
    made = {name: data.content for name, data in live.items()}
    finished = claim_run(out, config.model_dump(mode="json"), config.identity() | ({"live": made} if made else {}))
    if finished is not None:
        say(f"{out}: finished already, {finished.steps} steps")
        return finished
    try:
        if config.run.train_workers > 1:
            from seqgen.training.distributed import train_on_workers

            return train_on_workers(config, out, live=live, say=say)
        return teach(config, out, live=live, say=say, report=report)
    except UserError:
        release_run(out, folder=not was_there)
        raise
