"""A whole training run in a folder: claimed, made by this process or by several, left alone when it is finished. What `seqgen train` does."""

from pathlib import Path

from seqgen.errors import UserError
from seqgen.training.checkpoint import TrainResult, claim_run, release_run
from seqgen.training.config import TrainConfig
from seqgen.training.train import Report, Say, quiet, teach


def train(config: TrainConfig, out: Path, *, say: Say = quiet, report: Report = quiet) -> TrainResult:
    """Trains in the folder `out`, or continues an unfinished run of this config there; a finished one is left alone.

    UserError: a folder of another config or of other files, clips or checkpoints that do not fit, a loss that is not finite.
    """
    out = Path(out)
    was_there = out.exists()
    finished = claim_run(out, config.model_dump(mode="json"), config.identity())
    if finished is not None:
        say(f"{out}: finished already, {finished.steps} steps")
        return finished
    try:
        if config.run.train_workers > 1:
            from seqgen.training.distributed import train_on_workers

            return train_on_workers(config, out, say=say)
        return teach(config, out, say=say, report=report)
    except UserError:
        release_run(out, folder=not was_there)
        raise
