"""Benchmarks: ratios against a floor that is measured in the same run. `make bench` runs all of them."""

# Without and with what is measured: what else the machine does, and that a store which grows gets slower, fall on both
# alike.
TURNS = (False, True, True, False, True, False, False, True)
