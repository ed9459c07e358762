"""Training: one loop, for a fresh network and for fine-tuning, for one process and for each of several.

    open clips ─> network, optimiser ─> state of the last checkpoint, if any
        each step:  batch ─> this rank's clips ─> losses ─> gradient, summed over ranks, clipped ─> optimiser
        now and then:  a line of the log · validation, the best kept · checkpoint

A run is a function of its config and its clips: stopped anywhere and continued, it gives the same bits on a CPU (with the same number of threads).
Does not know which network it teaches (`Estimator`), where clips come from (`ClipSource`), who started the processes (`distributed.py`).
"""

import math
import os
from collections.abc import Callable, Iterator
from contextlib import closing, nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from seqgen.errors import UserError
from seqgen.estimators.checkpoint import load_weights, new_estimator, read_record, save_estimator
from seqgen.estimators.estimator import device_of
from seqgen.estimators.views.batch import Batch
from seqgen.estimators.views.view import to_device
from seqgen.evaluation.evaluate import mean_joint_error_mm
from seqgen.training.batches import Batches
from seqgen.training.checkpoint import BEST, LAST, Progress, TrainResult, load_training, save_training, write_result
from seqgen.training.config import TrainConfig
from seqgen.training.freeze import freeze, training_mode
from seqgen.training.group import ALONE, Group
from seqgen.training.progress import Clock, RunLog, speeds
from seqgen.training.schedule import clip_gradients, learning_rate, make_optimiser, set_learning_rate
from seqgen.training.sources import NONE, Live, training_batches, validation_batches

Say = Callable[[str], None]
Report = Callable[[dict[str, Any], int], None]  # a line of the log, the number of steps of the whole run


def quiet(*_: object) -> None:
    """Nobody listens."""


def teach(config: TrainConfig, out: Path, *, live: Live = NONE, group: Group = ALONE, say: Say = quiet, report: Report = quiet) -> TrainResult:
    """The loop, in a folder that is claimed. Every rank of a group runs it; rank 0 alone writes, speaks and validates."""
    run, first = config.run, group.rank == 0
    device = _set_up(config, group)
    batches, validation = training_batches(config, live), validation_batches(config, live)
    num_steps = run.steps or run.epochs * batches.num_batches

    estimator = new_estimator(config.model, mano_dir=Path(run.mano_dir) if run.mano_dir else None).to(device)
    learning = freeze(estimator, run.freeze)
    optimiser = make_optimiser(learning, config.optim)
    progress = _resume_or_start(config, out, estimator, optimiser, batches)
    say(f"{out}: {f'continues at step {progress.step} of' if progress.step else 'starts'} {num_steps} steps on {len(learning)} tensors of weights")
    group.share_state(estimator)

    about = partial(_about, config, _earlier_stages(run.start))
    clock = Clock(seconds=progress.seconds, wait_seconds=progress.wait_seconds, clips=progress.clips, frames=progress.frames)
    stop = _patience_is_over(progress, run.patience)
    with RunLog(out, progress.step) if first else nullcontext() as log, closing(batches):
        for epoch, batch in clock.waiting(_batches_from(batches, progress.step, progress.step if stop else num_steps)):
            torch.manual_seed(_seed_of_step(run.seed, progress.step, group.rank))
            rate = learning_rate(progress.step, num_steps, config.optim)
            set_learning_rate(optimiser, rate)
            training_mode(estimator, run.freeze)
            part, share = group.part_of(batch)
            terms, loss, norm = _gradients(estimator, learning, to_device(part, device), share, config, group)
            if not math.isfinite(loss + norm):
                raise UserError(_not_finite(progress.step + 1, loss, terms, batch, out))
            optimiser.step()
            group.average_statistics(estimator)
            clock.count(batch.num_clips, batch.num_clips * batch.num_frames)
            progress = replace(progress, step=progress.step + 1, clips=clock.clips, frames=clock.frames, seconds=clock.seconds, wait_seconds=clock.wait_seconds)
            last = progress.step == num_steps

            if last or progress.step % run.log_every == 0:
                summed = group.sum_values({name: float(term.detach()) * share for name, term in terms.items()})
                line = {"step": progress.step, "epoch": epoch, "loss": loss, "terms": summed, "lr": rate, "gradient_norm": norm, **clock.lap()}
                _tell(line, log, report, num_steps)

            if validation is not None and (last or progress.step % run.validate_every == 0):
                with clock.paused():
                    progress = _validated(progress, group.agree(_validate(estimator, validation, config.input.joints) if first else None))
                _tell({"step": progress.step, "validation_mm": progress.validation_mm}, log, report, num_steps)
                if first and progress.best_step == progress.step:
                    save_estimator(out / BEST, estimator, config.input, about(progress))
                stop = _patience_is_over(progress, run.patience)

            if first and (last or stop or progress.step % run.checkpoint_every == 0):
                with clock.paused():
                    save_training(out / LAST, estimator, optimiser, config.input, progress=progress, about=about(progress))
            if stop:
                break

    result = _result(out, progress, "patience" if stop else "steps")
    if first:
        write_result(out, result)
    return result


def _set_up(config: TrainConfig, group: Group) -> torch.device:
    """Threads, the seed of the fresh weights (with `_seed_of_step` the only global randomness here), and the device."""
    torch.set_num_threads(config.run.threads or max(1, len(os.sched_getaffinity(0)) // group.size))
    torch.manual_seed(config.run.seed)
    if config.run.device == "cuda" and not torch.cuda.is_available():
        raise UserError("run.device = cuda: torch finds no CUDA device here; give --run.device cpu")
    torch.backends.cudnn.benchmark = True  # the fastest kernels for these sizes; which they are, and so the last bits, may differ from run to run
    return torch.device(config.run.device)


def _resume_or_start(config: TrainConfig, out: Path, estimator: nn.Module, optimiser: torch.optim.Optimizer, batches: Batches) -> Progress:
    """The state of the last checkpoint; else step 0, with the weights of `run.start`, or those of `run.backbone` and fresh ones, and the constants of the data in use."""
    if (out / LAST).exists():
        progress = load_training(out / LAST, estimator, optimiser)
        if progress.num_batches != batches.num_batches:
            raise UserError(
                f"{out}: was trained on data of {progress.num_batches} batches an epoch, now there are {batches.num_batches}; bring the data back or choose another --out"
            )
        return progress
    if config.run.start is not None:
        load_weights(Path(config.run.start), estimator)
    else:
        if config.run.backbone is not None:
            estimator.load_backbone(Path(config.run.backbone))
        estimator.start_from(to_device(next(iter(batches.of_epoch(0))), device_of(estimator)))
    return Progress(num_batches=batches.num_batches)


def _seed_of_step(seed: int, step: int, rank: int) -> int:
    """Draws inside the network (dropout) depend on nothing that came before: so there is no state of them to keep."""
    return int(np.random.SeedSequence(seed, spawn_key=(step, rank)).generate_state(1, np.uint64)[0] >> np.uint64(1))


def _batches_from(batches: Batches, step: int, num_steps: int) -> Iterator[tuple[int, Batch]]:
    """(epoch, batch) for the steps from `step` on."""
    while step < num_steps:
        epoch, start = divmod(step, batches.num_batches)
        for batch in batches.of_epoch(epoch, start):
            yield epoch, batch
            step += 1
            if step == num_steps:
                return


def _tell(line: dict[str, Any], log: RunLog | None, report: Report, num_steps: int) -> None:
    """Says a line of the log, if this is the rank that has one."""
    if log is not None:
        log.write(line)
        report(line, num_steps)


def _gradients(
    estimator: nn.Module, learning: list[nn.Parameter], batch: Batch, share: float, config: TrainConfig, group: Group
) -> tuple[dict[str, Tensor], float, float]:
    """Leaves the clipped gradient of the whole batch in the weights. This rank's terms, the whole batch's loss, the norm before clipping."""
    for parameter in learning:
        parameter.grad = None
    with torch.autocast(batch.device.type, torch.bfloat16, enabled=config.optim.precision == "bfloat16"):
        output = estimator(batch)
    terms = estimator.losses(output, batch)
    if not terms:
        raise UserError("model.losses: every term has weight 0, so there is nothing to learn; give one a weight")
    loss = torch.stack(list(terms.values())).sum() * share
    loss.backward()
    loss = group.sum_gradients(learning, loss)
    return terms, float(loss.detach()), float(clip_gradients(learning, config.optim.clip_norm))


def _validate(estimator: nn.Module, validation: Batches, joint_set: str) -> float:
    """Mean joint error over the validation clips, mm."""
    with closing(validation):  # its readers would only wait for the next validation
        error_mm = mean_joint_error_mm(estimator, validation.of_epoch(0), joint_set)
    if not math.isfinite(error_mm):
        raise UserError(f"validation: the error is {error_mm} mm: no joints with a wrist to measure from, or no finite prediction; see data.validation")
    return error_mm


def _validated(progress: Progress, error_mm: float) -> Progress:
    """The progress after a validation."""
    if progress.best_mm is None or error_mm < progress.best_mm:
        return replace(progress, validation_mm=error_mm, best_mm=error_mm, best_step=progress.step, num_worse=0)
    return replace(progress, validation_mm=error_mm, num_worse=progress.num_worse + 1)


def _patience_is_over(progress: Progress, patience: int | None) -> bool:
    return patience is not None and progress.num_worse >= patience


def _earlier_stages(start: str | None) -> list[dict[str, Any]]:
    """What the checkpoint that a run starts from says of its own training."""
    stages = [] if start is None else read_record(Path(start))["about"].get("stages", [])
    if not isinstance(stages, list):
        raise UserError(f"{start}: damaged (about.stages is not a list); take another checkpoint")
    return stages


def _about(config: TrainConfig, earlier: list[dict[str, Any]], progress: Progress) -> dict[str, Any]:
    """What a checkpoint says of its training: every stage with its data and what it froze, the last one last."""
    stage = {"data": list(config.data.train), "split": config.data.split, "start": config.run.start, "backbone": config.run.backbone}
    stage |= {"frozen": list(config.run.freeze), "seed": config.run.seed}
    stage |= {"steps": progress.step, "clips": progress.clips, "frames": progress.frames}
    return {"stages": [*earlier, stage], "validation_mm": progress.validation_mm}


def _not_finite(step: int, loss: float, terms: dict[str, Tensor], batch: Batch, out: Path) -> str:
    kept = f"the last good checkpoint is {out / LAST}" if (out / LAST).exists() else "there is no checkpoint yet"
    odd = [name for name, term in terms.items() if not math.isfinite(float(term.detach()))]
    what = f"the loss is {loss} ({', '.join(odd)})" if odd else f"the loss is {loss} and the gradient is not finite"
    return f"step {step}: {what} on the clips {', '.join(batch.keys)}; {kept}; lower optim.lr or optim.clip_norm, or take these clips out"


def _result(out: Path, progress: Progress, stopped: Literal["steps", "patience"]) -> TrainResult:
    """The last word on a run."""
    checkpoint = out / (BEST if progress.best_step is not None else LAST)
    speed = speeds(progress.seconds, progress.wait_seconds, progress.clips, progress.frames)
    best = {"validation_mm": progress.validation_mm, "best_mm": progress.best_mm, "best_step": progress.best_step}
    return TrainResult(checkpoint=str(checkpoint), stopped=stopped, steps=progress.step, seconds=progress.seconds, **best, **speed)
