"""The networks, by name. Add one: a file with a config (a `Section` whose `name` is a Literal) and a class that fits `Estimator`, and a line here."""

from typing import NamedTuple

from torch import nn

from seqgen.config import Section
from seqgen.estimators.seqhand import SeqHand, SeqHandConfig


class EstimatorKind(NamedTuple):
    """What a name stands for: the config, and the module made from it and a hand's layer."""

    config: type[Section]
    estimator: type[nn.Module]


ESTIMATORS: dict[str, EstimatorKind] = {
    "seqhand": EstimatorKind(SeqHandConfig, SeqHand),
}
