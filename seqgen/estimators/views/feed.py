"""What an estimator is fed: clips as batches of the input that it asks for, pictures or depth. Without augmentation and in one process."""

from collections.abc import Iterable, Iterator, Sequence

from seqgen.dataset.clip import ClipSource, LabelledClip, PictureKind
from seqgen.estimators.views.batch import Batch
from seqgen.estimators.views.crop import InputConfig
from seqgen.estimators.views.cube import CubeConfig
from seqgen.estimators.views.depth_sample import make_depth_sample
from seqgen.estimators.views.sample import Sample, collate, make_sample

Input = InputConfig | CubeConfig


def pictures_of(input: Input) -> tuple[PictureKind, ...]:
    """What must be read of a data set's frames."""
    if isinstance(input, InputConfig):
        return ("rgb", "mask")
    return ("depth_sensor" if input.depth == "sensor" else "depth",)


def sample_of(clip: LabelledClip, input: Input, *, hand: str | None = None) -> Sample:
    """The clip as it is. `hand`: the estimator's; parameters and surfaces of other hands count as unknown. None: whichever the clip has."""
    make = make_sample if isinstance(input, InputConfig) else make_depth_sample
    return make(clip, input, hand=hand)


def batch_of(clips: Sequence[LabelledClip], input: Input, *, hand: str | None = None) -> Batch:
    """Clips of one length as they are."""
    return collate([sample_of(clip, input, hand=hand) for clip in clips])


def batches_of(source: ClipSource, input: Input, *, batch: int, frames: int | None = None, hand: str | None = None) -> Iterator[Batch]:
    """A source's clips in its order, whole or their first `frames` frames: batches of at most `batch` clips, all of a batch of one length."""
    lengths = [source.num_frames(position) if frames is None else min(frames, source.num_frames(position)) for position in range(len(source))]
    for positions in runs_of_one_length(lengths, batch):
        clips = [source.read(position, None if lengths[position] == source.num_frames(position) else range(lengths[position])) for position in positions]
        yield batch_of(clips, input, hand=hand)


def runs_of_one_length(lengths: Iterable[int], most: int) -> Iterator[list[int]]:
    """Positions in order, cut where the length changes and after `most`."""
    run: list[int] = []
    before = None
    for position, length in enumerate(lengths):
        if run and (length != before or len(run) == most):
            yield run
            run = []
        run.append(position)
        before = length
    if run:
        yield run
