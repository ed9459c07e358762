"""Is a stored data set whole? `verify_dataset` is the door; what its labels say of one another is derived elsewhere (`seqgen.pipeline.deep`)."""

from seqgen.dataset.verify.folder import verify_dataset
from seqgen.dataset.verify.shard import Fault

__all__ = ["Fault", "verify_dataset"]
