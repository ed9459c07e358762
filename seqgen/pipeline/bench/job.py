"""One run of the pipeline in a process of its own, as `seqgen generate` does it, for `run.py`, which stands outside with a clock.

    standard input     {"directory": ..., "config": ...}
    standard output    a line of JSON for each finished shard: {"at_s": time.monotonic(), which all processes share, "frames": made by then};
                       where the user can mend what has gone wrong, the last one is {"error": in one line}
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

from seqgen.errors import UserError
from seqgen.pipeline.config import GenerateConfig
from seqgen.pipeline.run import Progress, generate_dataset
from seqgen.store_errors import StoreError


def main() -> None:
    """Does what standard input says."""
    told = json.load(sys.stdin)

    def report(progress: Progress) -> None:
        _tell({"at_s": time.monotonic(), "frames": progress.frames})

    try:
        generate_dataset(GenerateConfig.model_validate(told["config"]), Path(told["directory"]), say=lambda line: None, report=report)
    except (UserError, StoreError) as error:
        _tell({"error": str(error)})


def _tell(line: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
