"""`python -m bartizan.app.make N`: reads records of bulks for another process, over socket N, until that closes.

It imports the formats and what they need, not the API: it is to start fast and to stay small.
"""

import pickle
import signal
import sys

from bartizan.app import NICENESS_OF_RECORDS, settle, stand_back
from bartizan.child import line_of_this_process
from bartizan.model import stamps

COMMAND = (sys.executable, "-m", "bartizan.app.make")


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's; it closes the line
    stand_back(NICENESS_OF_RECORDS)
    line = line_of_this_process()
    stamps.adopt(*pickle.loads(line.recv_bytes()))  # noqa: S301 - of the process that began this one
    import bartizan.sources  # noqa: F401 - fills SOURCES; after the stamps, which are read at import
    from bartizan.extend import SOURCES
    from bartizan.ingest.makers import answer

    settle()
    answer(line, SOURCES)


if __name__ == "__main__":
    main()
