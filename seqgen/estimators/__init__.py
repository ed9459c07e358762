"""The networks, by name. Add one: a file with a config (a `Section` whose `name` is a Literal) and a class that fits `Estimator`, and a line here."""

from typing import NamedTuple

from torch import nn

from seqgen.config import Section
from seqgen.estimators.crop import InputConfig
from seqgen.estimators.cube import CubeConfig
from seqgen.estimators.seqhand import SeqHand, SeqHandConfig


class EstimatorKind(NamedTuple):
    """What a name stands for: the config, the module made from it and a hand's layer, and what the module is shown."""

    config: type[Section]
    estimator: type[nn.Module]
    input: type[InputConfig] | type[CubeConfig] = InputConfig


ESTIMATORS: dict[str, EstimatorKind] = {
    "seqhand": EstimatorKind(SeqHandConfig, SeqHand),
}
