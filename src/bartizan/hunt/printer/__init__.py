"""The printer: a tree back to text that parses to the same tree, positions apart.

One line for each statement and each operator of an outermost pipe. Names that are keywords stand in brackets, old
spellings come out as today's, negative literals as `long(-1)`.
"""

from bartizan.hunt import tree
from bartizan.hunt.printer.steps import operator, setting
from bartizan.hunt.printer.values import Printer

__all__ = ["show"]


def show(query: tree.Query) -> str:
    return Printer(operator, setting).query(query)
