"""`python -m bartizan.app api|work|identity-N|lake|listen`: a process of the group; its settings come over standard
input."""

import sys

from bartizan.app.processes import child

if __name__ == "__main__":
    child(sys.argv[1])
