"""summarize: groups and aggregates, also those of several columns, and what is reckoned from aggregates.

Source: Kusto Query Language, "summarize operator", "arg_max()", "take_any()", "percentiles()".
"""

from collections.abc import Sequence
from typing import NamedTuple

from msgspec.structs import replace

from bartizan.hunt import tree
from bartizan.hunt.binder import calls
from bartizan.hunt.binder.columns import ids, numbered, parts
from bartizan.hunt.binder.naming import PERCENTILES, Taken, bare, natural, number
from bartizan.hunt.binder.scope import Field, Names, Relation, Rows, Worked
from bartizan.hunt.binder.work import Work, project
from bartizan.hunt.fault import KqlError
from bartizan.hunt.plan import Aggregate, Best, Column, Expression, Ref, Summarize

EXTREMES = {"arg_max": "max", "arg_min": "min", "argmax": "max", "argmin": "min"}
ANY = ("take_any", "any", "take_anyif", "anyif")


class Made(NamedTuple):
    """A column of the result, told by the text or by itself ('': Column1), over the columns of the summary."""

    name: str
    told: bool
    value: Expression


class Summary:
    """One summarize while it is bound."""

    def __init__(self, work: Work, names: Names, relation: Relation) -> None:
        self.work = work
        self.names = names
        self.relation = relation
        self.rows = calls.inside(Rows.collecting(relation))
        self.aggregates: list[Aggregate] = []
        self.keys: list[tuple[Field, Expression]] = []
        self.made: list[Made] = []
        self.after: list[Worked] = []  # worked out of aggregates and keys
        self.taken = Taken(before=relation.names())
        self.open = False  # whether columns go on that are not known yet

    def by(self, named: Sequence[tree.Named]) -> None:
        for each in named:
            for part in parts(self.work, each, self.names, self.rows):
                if part.told and part.name in self.taken.names:
                    raise KqlError("bind", f"there are two columns '{part.name}'", each.at)
                name = self.taken.free(part.name) if part.name else self.taken.column()
                self.keys.append((self.work.field(name, part.value.type), part.value))

    def key_names(self) -> set[str]:
        """The columns of the input that are keys themselves."""
        names = {each.id: each.name for each in self.relation.fields}
        return {names[value.id] for _, value in self.keys if isinstance(value, Ref) and value.id in names}

    def add(self, named: tree.Named) -> None:
        """An item of the list of aggregates."""
        call = bare(named.expr)
        name = call.name.lower() if isinstance(call, tree.Call) else ""
        if isinstance(call, tree.Call) and self.names.find(call.name) is None:
            if name in EXTREMES:
                return self.extreme(named, call)
            if name in ANY:
                return self.any(named, call)
            if name in PERCENTILES:
                return self.percentiles(named, call)
        rows = replace(self.rows, aggregates=self.aggregates, worked=self.after, inner=self.rows.worked)
        for part in parts(self.work, named, self.names, rows):
            name, told = part.name, part.told and bool(named.names)
            self.made.append(Made(name, told, self.over_keys(part.value, named.at)))
        return None

    def over_keys(self, value: Expression, at: int) -> Expression:
        """What is reckoned from aggregates may read the keys, and no other column."""
        known = {each.id for each in self.aggregates} | {each.id for each in self.after}
        keys = {value.id: field.id for field, value in self.keys if isinstance(value, Ref)}
        outside = ids([value]) - known
        if outside - set(keys):
            raise KqlError("bind", "a column in summarize must stand in an aggregate, or behind by", at)
        return _renamed(value, {each: keys[each] for each in outside}) if outside else value

    def put(self, name: str, args: list[Expression], at: int) -> Expression:
        return calls.aggregate_of(self.work, name, args, self.aggregates, at)

    def arguments(self, call: tree.Call) -> list[Expression]:
        return [calls.scalar_any(self.work, each, self.names, self.rows) for each in call.args]

    def extreme(self, named: tree.Named, call: tree.Call) -> None:
        """arg_max, arg_min: the compared value, then columns of its row."""
        name = call.name.lower()
        old, kind = name.startswith("argm"), EXTREMES[name]
        if not call.args:
            raise KqlError("bind", f"{call.name}() needs what is compared", call.at)
        by = calls.scalar_any(self.work, call.args[0], self.names, self.rows)
        given = natural(call.args[0])
        found: list[tuple[str, Expression]] = [(f"{kind}_{given}" if old else given or f"{kind}_", by)]
        skipped = {*self.key_names(), *([given] if isinstance(bare(call.args[0]), tree.Name) else [])}
        for index, each in enumerate(call.args[1:], 1):
            if isinstance(bare(each), tree.Star):
                self.open = self.relation.open
                others = [field for field in self.relation.fields if field.name not in skipped]
                found += [(f"{kind}_{given}_{field.name}" if old else field.name, field.ref) for field in others]
                continue
            own = natural(each)
            value = calls.scalar_any(self.work, each, self.names, self.rows)
            told = own or f"{kind}_{given}_arg{index}"
            if old and own:
                told = f"{kind}_{given}_{own}"
            told = call.named.get(index, told)
            found.append((told, value))
        function = "arg_max" if kind == "max" else "arg_min"
        self.several(named, [(told, self.put(function, [value, by], call.at)) for told, value in found])

    def any(self, named: tree.Named, call: tree.Call) -> None:
        """Of several columns: all of one row."""
        name = call.name.lower()
        before = f"{name}_" if name in ("any", "anyif") else ""
        args = call.args[:-1] if name.endswith("if") else call.args
        found: list[tuple[str, Expression]] = []
        for index, each in enumerate(args):
            if isinstance(bare(each), tree.Star):
                self.open = self.relation.open
                skipped = self.key_names()
                found += [(before + each.name, each.ref) for each in self.relation.fields if each.name not in skipped]
            else:
                value = calls.scalar_any(self.work, each, self.names, self.rows)
                own = natural(each)
                alone = len(args) == 1 and name != "take_any"
                found.append((before + own if own or alone else f"any_arg{index}", value))
        function = "first_row" if len(found) > 1 else "take_any"
        start = len(self.aggregates)
        self.several(named, [(told, self.put(function, [value], call.at)) for told, value in found])
        if name.endswith("if"):
            where = calls.scalar_any(self.work, call.args[-1], self.names, self.rows)
            self.aggregates[start:] = [replace(each, where=where) for each in self.aggregates[start:]]

    def percentiles(self, named: tree.Named, call: tree.Call) -> None:
        name = call.name.lower()
        single, fixed = name.removesuffix("s"), 1
        if name in ("percentilew", "percentilesw"):
            single, fixed = "percentilew", 2
        args = self.arguments(call)
        if len(args) <= fixed:
            raise KqlError("bind", f"{call.name}() needs a percentile", call.at)
        given = natural(call.args[0])
        found = []
        for node, share in zip(call.args[fixed:], args[fixed:], strict=True):
            value = self.put(single, [*args[:fixed], share], call.at)
            found.append((f"percentile_{given}_{number(node)}", value))
        self.several(named, found)

    def several(self, named: tree.Named, found: Sequence[tuple[str, Expression]]) -> None:
        if len(named.names) > len(found):
            raise KqlError("bind", f"there are {len(named.names)} names for {len(found)} values", named.at)
        for index, (name, value) in enumerate(found):
            told = index < len(named.names)
            self.made.append(Made(named.names[index] if told else name, told, value))

    def fields(self) -> list[tuple[Field, Expression]]:
        """The result's own columns, behind the keys."""
        result: list[tuple[Field, Expression]] = []
        keys, used = {field.name for field, _ in self.keys}, set[int]()
        for each in self.made:
            if each.told and each.name in keys:
                raise KqlError("bind", f"there are two columns '{each.name}'", -1)
            name = self.taken.free(each.name) if each.name else self.taken.column()
            plain = isinstance(each.value, Ref) and each.value.id not in used
            id_ = each.value.id if plain and isinstance(each.value, Ref) else self.work.id()
            used.add(id_)
            result.append((Field(name, id_, each.value.type), each.value))
        return result

    def relation_of(self) -> Relation:
        self.relation = numbered(self.work, self.relation, self.rows)
        groups = [Column(each.id, each) for each in self.relation.groups]
        keys = [*groups, *(Column(field.id, value) for field, value in self.keys)]
        fields = self.fields()
        own = [field for field, _ in self.keys]
        plan = self.best(keys) or Summarize(self.relation.plan, keys, self.aggregates)
        shown, before = (*own, *(field for field, _ in fields)), self.relation
        found = Relation(plan, shown, before.groups, before.source, open=self.open)
        if all(isinstance(value, Ref) and value.id == field.id for field, value in fields) and not self.after:
            return found
        calls_ = [replace(each, args=[self.over_keys(arg, each.at) for arg in each.args]) for each in self.after]
        found = numbered(self.work, found, Rows(worked=calls_))
        return project(found, [*((each, each.ref) for each in own), *fields])

    def best(self, keys: list[Column]) -> "Best | None":
        """The whole row at once, where one arg_max or arg_min is all that is asked."""
        names = {each.function.split()[1] for each in self.aggregates}
        if len(self.aggregates) < 2 or names not in ({"arg_max"}, {"arg_min"}):
            return None
        by = self.aggregates[0].args[1]
        if any(each.args[1] != by for each in self.aggregates) or any(each.where for each in self.aggregates):
            return None
        value, *kept = (Column(each.id, each.args[0]) for each in self.aggregates)
        return Best(self.relation.plan, keys, by, names == {"arg_min"}, value, kept)


def _renamed(one: Expression, new: dict[int, int]) -> Expression:
    """With other columns."""
    if isinstance(one, Ref):
        return Ref(one.type, new.get(one.id, one.id))
    changes: dict[str, object] = {}
    for name in one.__struct_fields__:
        part = getattr(one, name)
        if isinstance(part, list):
            changes[name] = [_renamed(each, new) if hasattr(each, "__struct_fields__") else each for each in part]
        elif name == "of":
            changes[name] = _renamed(part, new)
    return replace(one, **changes) if changes else one


def summarize(work: Work, op: tree.Operator, names: Names, relation: Relation) -> Relation:
    assert isinstance(op.body, tree.Summary)
    found = Summary(work, names, relation)
    found.by(op.body.by or [])
    for each in op.body.aggregates:
        found.add(each)
    if op.body.by is None and not op.body.aggregates:
        raise KqlError("bind", "summarize needs an aggregate or a key", op.at)
    return found.relation_of()
