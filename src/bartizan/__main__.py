"""`python -m bartizan` is the command `bartizan`."""

from bartizan.cli import main

if __name__ == "__main__":
    main()
