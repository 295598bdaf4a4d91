"""`python -m bartizan.app.hunt N`: runs hunts of one tenant for another process, over socket N, until that closes."""

import signal
import sys

from bartizan.app import stand_back
from bartizan.child import line_of_this_process

NICE = 5  # other answers go first: a hunt may take all of a processor for long
COMMAND = (sys.executable, "-m", "bartizan.app.hunt")


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's; it closes the line
    stand_back(NICE)
    from bartizan.hunt.child import serve  # DuckDB with it: whoever wants the command alone does not pay for it

    serve(line_of_this_process())


if __name__ == "__main__":
    main()
