"""The worker process: reads one job (a line of JSON) after the other from standard input, answers each with a line.

A line may hold a list of jobs, and is answered by a list: stills are many, and small.

Decoders are large C programs fed with whatever people drop into a bucket. Here they may crash, and cost one recording;
nor do they get more memory than they are given.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import signal
import sys
from pathlib import Path
from typing import Any

_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Work until standard input ends; die with the parent."""
    if not die_with(int(sys.argv[1])):
        return
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever a library prints must not end up among the answers
    from tasks.ingest.reading import MACHINE_IS_SHORT, Job, read

    limit_memory(int(sys.argv[2]))
    for line in sys.stdin:
        try:
            asked = json.loads(line)
            if isinstance(asked, list):
                answer: Any = [read(Job.from_data(one)).as_data() for one in asked]
            else:
                answer = read(Job.from_data(asked)).as_data()
        except OSError as error:
            if error.errno not in MACHINE_IS_SHORT:
                raise
            answer = {"machine": str(error)}  # nothing the recording can be blamed for
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


def die_with(parent: int) -> bool:
    """Have the kernel end this process when its parent ends; False where that has ended already."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    return os.getppid() == parent


def limit_memory(megabytes: int) -> None:
    """Let no allocation go beyond a limit: it fails in the library that asks, and costs one recording.

    Of the data, not of the address space: files mapped for reading (stacks of many GB) do not count.
    """
    taken = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmData"))
    most = int(taken.split()[1]) * 1024 + megabytes * 2**20
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    if hard == resource.RLIM_INFINITY or most < hard:
        resource.setrlimit(resource.RLIMIT_DATA, (most, hard))


if __name__ == "__main__":
    main()
