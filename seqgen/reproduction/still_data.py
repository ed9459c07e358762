"""The data sets that stand for those of the papers on depth and on single pictures: pictures and depth of the same clips, as two cameras' sensors see them."""

from seqgen.reproduction.tables import Data

SR300 = Data("sr300", "sr300", "source")
D435 = Data("d435", "d435", "test")
SENSOR, CLEAN = {"input.depth": "sensor"}, {"input.depth": "clean"}  # which depth a network is taught with, or tested on
