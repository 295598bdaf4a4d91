"""Drops the columns that nobody reads, so that a stored table is read by no more columns than the answer needs.

First every reader of a shared plan says what it needs, those made last first (a shared plan reads only such as were
made before it); then all is written anew.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from msgspec.structs import replace

from bartizan.hunt import plan as p
from bartizan.hunt.binder.columns import ids
from bartizan.hunt.binder.scope import Field
from bartizan.hunt.deadline import Deadline
from bartizan.hunt.fault import KqlError
from bartizan.hunt.plan import Expression, Id, Plan

Need = set[Id]


def prune(plan: Plan, fields: Sequence[Field], deadline: Deadline, united: set[Id] | None = None) -> Plan:
    """A plan that gives exactly these columns of `plan`, in this order. KqlError, run: the time is over. `united`
    gets the columns of unions that are left."""
    pruner = _Pruner(deadline, set() if united is None else united)
    wanted = [each.id for each in fields]
    pruner.ask(plan, set(wanted))
    pruner.settle()
    made = pruner.made(plan, set(wanted))
    if [each.id for each in made.columns] == wanted:
        return made
    return p.Project(made, [p.Column(each.id, each.ref) for each in fields])


class _Pruner:
    def __init__(self, deadline: Deadline, united: set[Id]) -> None:
        self.deadline = deadline
        self.united = united
        self.needs: dict[str, Need] = {}
        self.waiting: dict[int, p.Shared] = {}
        self.done: dict[str, Plan] = {}

    # -------------------------------------------------------------- what is needed

    def settle(self) -> None:
        while self.waiting:
            shared = self.waiting.pop(max(self.waiting))
            self.ask(shared.plan, self.needs[shared.name])

    def ask(self, plan: Plan, need: Need) -> None:
        """Notes what shared plans are asked for."""
        self.deadline.check()
        if isinstance(plan, p.Shared):
            inner = {out.id: old.id for out, old in zip(plan.columns, plan.plan.columns, strict=True)}
            _closed(need - inner.keys())
            self.needs.setdefault(plan.name, set()).update(inner[each] for each in need)
            self.waiting[int(plan.name.removeprefix("shared"))] = plan
            return
        if isinstance(plan, p.Rows | p.Table | p.Numbers):
            _closed((need - {each.id for each in plan.columns}) | ids(_expressions(plan, need)))
        for each in _plans_in(_expressions(plan, need)):
            self.ask(each, {each.columns[0].id})
        for child, wanted in _inputs(plan, need):
            self.ask(child, wanted)

    # -------------------------------------------------------------- writing anew

    def made(self, plan: Plan, need: Need) -> Plan:
        self.deadline.check()
        if isinstance(plan, p.Shared):
            return self._shared(plan)
        children = [self.made(child, wanted) for child, wanted in _inputs(plan, need)]
        method: Callable[[Any, Need, list[Plan]], Plan] = getattr(self, f"_{type(plan).__name__.lower()}")
        return method(plan, need, children)

    def expression(self, one: Expression) -> Expression:
        """With its own plans pruned."""
        match one:
            case p.Apply():
                args = [self.expression(each) for each in one.args]
                return one if all(a is b for a, b in zip(args, one.args, strict=True)) else replace(one, args=args)
            case p.Path():
                steps = [each if isinstance(each, str | int) else self.expression(each) for each in one.steps]
                return replace(one, of=self.expression(one.of), steps=steps)
            case p.Single():
                return replace(one, plan=self._first(one.plan))
            case p.Lookup():
                return replace(one, of=self.expression(one.of), plan=self._first(one.plan))
        return one

    def _first(self, plan: Plan) -> Plan:
        first = plan.columns[0]
        made = self.made(plan, {first.id})
        if made.columns[0].id == first.id:
            return made
        return p.Project(made, [p.Column(first.id, p.Ref(first.type, first.id))])

    def _column(self, one: p.Column) -> p.Column:
        return p.Column(one.id, self.expression(one.expression))

    def _shared(self, plan: p.Shared) -> Plan:
        if plan.name not in self.done:
            self.done[plan.name] = self.made(plan.plan, self.needs[plan.name])
        inner = self.done[plan.name]
        mine = {old.id: out for out, old in zip(plan.columns, plan.plan.columns, strict=True)}
        kept = [each for each in inner.columns if each.id in mine]
        if len(kept) < len(inner.columns):
            refs = [p.Column(each.id, p.Ref(each.type, each.id)) for each in kept]
            inner = self.done[plan.name] = p.Project(inner, refs)
        return p.Shared(plan.name, inner, [mine[each.id] for each in inner.columns], plan.once)

    def _rows(self, plan: p.Rows, need: Need, children: list[Plan]) -> Plan:
        kept = [index for index, each in enumerate(plan.columns) if each.id in need]
        rows = [[self.expression(row[index]) for index in kept] for row in plan.rows]
        return p.Rows([plan.columns[index] for index in kept], rows)

    def _table(self, plan: p.Table, need: Need, children: list[Plan]) -> Plan:
        kept = [index for index, each in enumerate(plan.columns) if each.id in need]
        columns, names = [plan.columns[index] for index in kept], [plan.names[index] for index in kept]
        return p.Table(columns, plan.table, names)

    def _numbers(self, plan: p.Numbers, need: Need, children: list[Plan]) -> Plan:
        start, stop, step = (self.expression(each) for each in (plan.start, plan.stop, plan.step))
        return p.Numbers(plan.columns, start, stop, step)

    def _filter(self, plan: p.Filter, need: Need, children: list[Plan]) -> Plan:
        return p.Filter(children[0], self.expression(plan.condition))

    def _project(self, plan: p.Project, need: Need, children: list[Plan]) -> Plan:
        made = [self._column(each) for each in plan.made if each.id in need]
        if all(isinstance(each.expression, p.Ref) and each.expression.id == each.id for each in made):
            return children[0]
        return p.Project(children[0], made)

    def _summarize(self, plan: p.Summarize, need: Need, children: list[Plan]) -> Plan:
        return p.Summarize(
            children[0],
            [self._column(each) for each in plan.keys],
            [
                replace(
                    each,
                    args=[self.expression(arg) for arg in each.args],
                    where=None if each.where is None else self.expression(each.where),
                )
                for each in _kept_aggregates(plan, need)
            ],
        )

    def _best(self, plan: p.Best, need: Need, children: list[Plan]) -> Plan:
        return replace(
            plan,
            input=children[0],
            keys=[self._column(each) for each in plan.keys],
            by=self.expression(plan.by),
            value=self._column(plan.value),
            keep=[self._column(each) for each in plan.keep if each.id in need],
        )

    def _sort(self, plan: p.Sort, need: Need, children: list[Plan]) -> Plan:
        return p.Sort(children[0], [replace(each, expression=self.expression(each.expression)) for each in plan.keys])

    def _limit(self, plan: p.Limit, need: Need, children: list[Plan]) -> Plan:
        return p.Limit(children[0], self.expression(plan.count), plan.random)

    def _join(self, plan: p.Join, need: Need, children: list[Plan]) -> Plan:
        on = [(self.expression(one), self.expression(other)) for one, other in plan.on]
        return p.Join(children[0], children[1], plan.kind, on)

    def _union(self, plan: p.Union, need: Need, children: list[Plan]) -> Plan:
        """Each input becomes a Project of the same columns, in their order."""
        kept = [index for index, each in enumerate(plan.columns) if each.id in need]
        self.united.update(plan.columns[index].id for index in kept)
        if plan.places is not None:
            outs = [plan.columns[index] for index in kept]
            legs = zip(children, plan.places, strict=True)
            return p.Union(outs, [p.Project(child, _placed(outs, place)) for child, place in legs])
        inputs: list[Plan] = []
        for old, child in zip(plan.inputs, children, strict=True):
            given = old.columns
            wanted = [given[index] for index in kept]
            if isinstance(child, p.Project) and [each.id for each in child.columns] == [each.id for each in wanted]:
                inputs.append(child)
            else:
                inputs.append(p.Project(child, [p.Column(each.id, p.Ref(each.type, each.id)) for each in wanted]))
        return p.Union([plan.columns[index] for index in kept], inputs)

    def _expand(self, plan: p.Expand, need: Need, children: list[Plan]) -> Plan:
        made = [replace(each, source=self.expression(each.source)) for each in plan.made]
        index = plan.index if plan.index in need else None
        limit = None if plan.limit is None else self.expression(plan.limit)
        return p.Expand(children[0], made, index, limit, plan.drop)

    def _number(self, plan: p.Number, need: Need, children: list[Plan]) -> Plan:
        made = [
            replace(
                each,
                args=[self.expression(arg) for arg in each.args],
                restart=None if each.restart is None else self.expression(each.restart),
            )
            for each in plan.made
            if each.id in need
        ]
        return p.Number(children[0], made) if made else children[0]

    def _scan(self, plan: p.Scan, need: Need, children: list[Plan]) -> Plan:
        stages = [
            replace(each, condition=self.expression(each.condition), made=[self.expression(one) for one in each.made])
            for each in plan.stages
        ]
        return replace(plan, input=children[0], stages=stages)


# ------------------------------------------------------------------ what a node reads


def _closed(strange: Need) -> None:
    """No source gives these columns: they are of the row around a subquery."""
    if strange:
        raise KqlError("plan", "a table that depends on the row for which it is read is not supported; use a join")


def _placed(outs: Sequence[p.Out], place: dict[Id, Id]) -> list[p.Column]:
    """All columns of a union, out of what one input has."""
    made: list[p.Column] = []
    for each in outs:
        mine = place.get(each.id)
        empty = p.Value(each.type, "" if each.type == "string" else None)
        made.append(p.Column(each.id, empty if mine is None else p.Ref(each.type, mine)))
    return made


def _kept_aggregates(plan: p.Summarize, need: Need) -> list[p.Aggregate]:
    kept = [each for each in plan.aggregates if each.id in need]
    return kept or ([] if plan.keys else plan.aggregates[:1])


def _expressions(plan: Plan, need: Need) -> list[Expression]:
    """What a node works out for these columns."""
    match plan:
        case p.Rows():
            return [each for row in plan.rows for each in row]
        case p.Numbers():
            return [plan.start, plan.stop, plan.step]
        case p.Filter():
            return [plan.condition]
        case p.Project():
            return [each.expression for each in plan.made if each.id in need]
        case p.Summarize():
            aggregates = _kept_aggregates(plan, need)
            given = [arg for each in aggregates for arg in (*each.args, *([each.where] if each.where else []))]
            return [*(each.expression for each in plan.keys), *given]
        case p.Best():
            kept = [each for each in plan.keep if each.id in need]
            return [plan.by, *(each.expression for each in (*plan.keys, plan.value, *kept))]
        case p.Sort():
            return [each.expression for each in plan.keys]
        case p.Limit():
            return [plan.count]
        case p.Expand():
            return [*(each.source for each in plan.made), *([plan.limit] if plan.limit else [])]
        case p.Number():
            made = [each for each in plan.made if each.id in need]
            return [
                arg for each in made for arg in (*each.args, *each.partition, *([each.restart] if each.restart else []))
            ]
        case p.Scan():
            return [*(one for each in plan.stages for one in (each.condition, *each.made)), *plan.partition]
        case p.Join():
            return [each for pair in plan.on for each in pair]
    return []


def _inputs(plan: Plan, need: Need) -> list[tuple[Plan, Need]]:
    """The inputs of a node, each with the columns that it must give."""
    if isinstance(plan, p.Union) and plan.places is not None:
        places = zip(plan.inputs, plan.places, strict=True)
        return [(each, {mine for out, mine in place.items() if out in need}) for each, place in places]
    if isinstance(plan, p.Union):
        kept = [index for index, each in enumerate(plan.columns) if each.id in need]
        given = [each.columns for each in plan.inputs]
        return [(each, {outs[index].id for index in kept}) for each, outs in zip(plan.inputs, given, strict=True)]
    if isinstance(plan, p.Join):
        wanted = need | ids(_expressions(plan, need))
        return [(side, wanted & {each.id for each in side.columns}) for side in (plan.left, plan.right)]
    if isinstance(plan, p.Rows | p.Table | p.Numbers | p.Shared):
        return []
    read = ids(_expressions(plan, need))
    if isinstance(plan, p.Scan):
        read |= need | {each.column for each in plan.held}
        read -= {each.id for each in plan.held}
        read -= {plan.match, *(each.id for each in plan.declared)}
    if isinstance(plan, p.Filter | p.Sort | p.Limit | p.Expand | p.Number):
        read |= need
    if isinstance(plan, p.Expand | p.Number):
        read -= {each.id for each in plan.made}
    if isinstance(plan, p.Expand):
        read.discard(-1 if plan.index is None else plan.index)
    return [(plan.input, read)]


def _plans_in(expressions: Iterable[Expression]) -> list[Plan]:
    """The plans within expressions, not those within plans."""
    found: list[Plan] = []
    stack: list[object] = list(expressions)
    while stack:
        each = stack.pop()
        if isinstance(each, p.Single | p.Lookup):
            found.append(each.plan)
            stack += [each.of] if isinstance(each, p.Lookup) else []
        elif isinstance(each, p.Apply):
            stack += each.args
        elif isinstance(each, p.Path):
            stack += [each.of, *(step for step in each.steps if not isinstance(step, str | int))]
    return found
