"""One run of the pipeline in a process of its own, as `seqgen generate` does it, for `run.py`, which stands outside with a clock.

    standard input     {"directory": ..., "config": ...}
    standard output    a line of JSON for each finished shard: {"at_s": time.monotonic(), which all processes share, "frames": made by then}
"""

import json
import sys
import time
from pathlib import Path

from seqgen.pipeline.config import GenerateConfig
from seqgen.pipeline.run import Progress, generate_dataset


def main() -> None:
    """Does what standard input says."""
    told = json.load(sys.stdin)

    def report(progress: Progress) -> None:
        sys.stdout.write(json.dumps({"at_s": time.monotonic(), "frames": progress.frames}) + "\n")
        sys.stdout.flush()

    generate_dataset(GenerateConfig.model_validate(told["config"]), Path(told["directory"]), say=lambda line: None, report=report)


if __name__ == "__main__":
    main()
