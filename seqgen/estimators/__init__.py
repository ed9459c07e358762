"""The networks, by name. Add one: a folder with a config (a `Section` whose `name` is a Literal) and a class that fits `Estimator`, and a line here."""

from typing import NamedTuple

from torch import nn

from seqgen.config import Section
from seqgen.estimators.handr2n2.estimator import HandR2N2, HandR2N2Config, HandR2N2Input
from seqgen.estimators.jar.estimator import Jar, JarConfig, JarInput
from seqgen.estimators.jgr_p2o.estimator import JgrP2o, JgrP2oConfig, JgrP2oInput
from seqgen.estimators.seqhand.estimator import SeqHand, SeqHandConfig
from seqgen.estimators.srn.estimator import Srn, SrnConfig, SrnInput
from seqgen.estimators.views.crop import InputConfig
from seqgen.estimators.views.cube import CubeConfig


class EstimatorKind(NamedTuple):
    """What a name stands for: the config, the module made from it and a hand's layer, and what the module is shown."""

    config: type[Section]
    estimator: type[nn.Module]
    input: type[InputConfig] | type[CubeConfig] = InputConfig


ESTIMATORS: dict[str, EstimatorKind] = {
    "seqhand": EstimatorKind(SeqHandConfig, SeqHand),
    "handr2n2": EstimatorKind(HandR2N2Config, HandR2N2, HandR2N2Input),
    "srn": EstimatorKind(SrnConfig, Srn, SrnInput),
    "jgr_p2o": EstimatorKind(JgrP2oConfig, JgrP2o, JgrP2oInput),
    "jar": EstimatorKind(JarConfig, Jar, JarInput),
}
