"""The worker process: reads one job (a line of JSON) after the other from standard input, answers each with a line.

Decoders are large C programs fed with whatever people drop into a bucket. Here they may crash, and cost one recording.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1
_MACHINE_IS_SHORT = {errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE}


def main() -> None:
    """Work until standard input ends; die with the parent."""
    parent = int(sys.argv[1])
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died before we asked to be told
        return
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever a library prints must not end up among the answers
    from tasks.ingest.reading import Job, read

    for line in sys.stdin:
        try:
            answer = read(Job.from_data(json.loads(line))).as_data()
        except OSError as error:
            if error.errno not in _MACHINE_IS_SHORT:
                raise
            answer = {"machine": str(error)}  # nothing the recording can be blamed for
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
