"""The typed binder: a tree and a catalogue become a plan.

Source: Kusto Query Language, "Query statements".
"""

from functools import partial

from bartizan.hunt import tree
from bartizan.hunt.binder import expressions, inline, pipes
from bartizan.hunt.binder.prune import prune
from bartizan.hunt.binder.scope import Relation, Rows
from bartizan.hunt.binder.work import Bound, Work
from bartizan.hunt.fault import KqlError
from bartizan.hunt.plan import Answer, Id, Out
from bartizan.hunt.plan import Rows as Values

MAX_NOTES = 20  # of an answer


class Binder:
    """Of one query, with its `Work`; afterwards `tables` tells what it reads."""

    def __init__(self, work: Work) -> None:
        self.work = work
        self.work.pipe = partial(pipes.pipe, self.work)
        self.work.whole = partial(inline.whole, self.work)
        self.work.bind = partial(expressions.bind, self.work)

    @property
    def tables(self) -> list[str]:
        return list(self.work.tables)

    def bind(self, query: tree.Query) -> Answer:
        """What the query means. KqlError with its place."""
        self.work.reads(query)
        names = inline.with_lets(self.work, query.statements, self.work.globals)
        if not query.results:
            raise KqlError("bind", "the query has no result", query.at)
        if len(query.results) > 1:
            raise KqlError("plan", "several results in one query are not supported", query.results[1].at)
        found = _table(self.work, self.work.whole(query.results[0], names, Rows()))
        united: set[Id] = set()
        plan = prune(found.plan, found.fields, self.work.deadline, united)
        return Answer(plan, found.names(), _notes(self.work, united))


def _notes(work: Work, left: set[Id]) -> list[str]:
    """Of the columns that the answer rests on, each once."""
    notes = list(dict.fromkeys(text for column, text in work.notes if column in left))
    if len(notes) <= MAX_NOTES:
        return notes
    return [*notes[: MAX_NOTES - 1], f"{len(notes) - MAX_NOTES + 1} more notes are not shown."]


def _table(work: Work, found: Bound) -> Relation:
    """A scalar answers as a table of one cell."""
    if isinstance(found, Relation) and found.graph is not None:
        raise KqlError("bind", "a graph is no answer: end with graph-match, graph-shortest-paths or graph-to-table", -1)
    if isinstance(found, Relation):
        return found
    field = work.field("print_0", found.type)
    return Relation(Values([Out(field.id, field.type)], [[found]]), (field,))
