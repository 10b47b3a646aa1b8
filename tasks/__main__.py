"""`nightscope`, the command line. Every command is in `tasks/cli/`; this is the door."""

from __future__ import annotations

import os
import sys

from tasks.cli import app
from tasks.cli.missing import missing_extra
from tasks.cli.output import careful_streams, show_error
from tasks.errors import NightscopeError
from tasks.stack.loopback import past_proxies


def main() -> None:
    """Run the command line; an error of ours is shown as a sentence, not as a traceback."""
    os.environ.update(past_proxies(os.environ))  # or our passwords would travel to the proxy, and not arrive
    careful_streams()
    try:
        app()
    except NightscopeError as error:
        show_error(error)
        sys.exit(1)
    except ModuleNotFoundError as error:
        if (told := missing_extra(error)) is None:
            raise
        show_error(told)
        sys.exit(1)


if __name__ == "__main__":
    main()
