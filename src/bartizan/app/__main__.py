"""`python -m bartizan.app lake`: a process of the group that has a program of its own; its settings come over standard
input."""

import sys

from bartizan.app.processes import child

if __name__ == "__main__":
    child(sys.argv[1])
