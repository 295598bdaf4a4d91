"""What queries mean once names and types are known: the columns of the answer, and what is refused where."""

from datetime import UTC, datetime
from typing import Any

import pytest
from msgspec.structs import replace

from bartizan.hunt import plan as p
from bartizan.hunt.binder import Binder
from bartizan.hunt.binder.work import Work
from bartizan.hunt.catalogue import Catalogue, Stored, of_columns
from bartizan.hunt.fault import KqlError
from bartizan.hunt.parser import parse
from bartizan.hunt.tree import Scalar

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
T = "datatable(a:string, b:long, d:dynamic, t:datetime)[]"
EVENTS: dict[str, Scalar] = {"Timestamp": "datetime", "Name": "string", "name": "long", "Props": "dynamic"}
CATALOGUE = of_columns({"Events": EVENTS, "Other": {"TimeGenerated": "datetime", "Name": "string", "Size": "int"}})


def answer(query: str, catalogue: Catalogue = CATALOGUE, **more: Any) -> p.Answer:
    return Binder(Work(catalogue, NOW, **more)).bind(parse(query))


def columns(query: str, catalogue: Catalogue = CATALOGUE, **more: Any) -> str:
    return " ".join(f"{name}:{type_}" for name, type_ in answer(query, catalogue, **more).columns)


def nodes(plan: Any, kind: type) -> list[Any]:
    """All nodes of a kind in a plan."""
    found, stack = [], [plan]
    while stack:
        each = stack.pop()
        if isinstance(each, kind):
            found.append(each)
        if isinstance(each, list | tuple):
            stack += each
        elif hasattr(each, "__struct_fields__"):
            stack += [getattr(each, name) for name in each.__struct_fields__]
    return found


# What Microsoft's binder computes for these.
NAMED = [
    ("project tostring(d.x.y), tolower(a), d.x['y'], d[0].z, bin(t, 1h), -1, (a), split(a, ',')[0]",
     "d_x_y:string Column1:string d_x_y1:dynamic d_0_z:dynamic t:datetime Column2:long a:string a_0:dynamic"),
    ("project strlen(a), gettype(a), column_ifexists('b', 1), column_ifexists('z', a), a == 'x', now()",
     "strlen_a:long type_a:string b:long Column1:string Column2:bool Column3:datetime"),
    ("project tostring(b), b", "b:string b1:long"),
    ("extend tostring(b), b + 1", "a:string b:string d:dynamic t:datetime Column1:long"),
    ("extend b + 1, b * 2 | project b + 3, t, b + 4", "Column3:long t:datetime Column4:long"),
    ("extend b + 1 | summarize max(b) + 1, min(b) + 1 by tolower(a)", "Column2:string Column3:long Column4:long"),
    ("project b + 1, Column2 = a, b + 2, b + 3", "Column1:long Column2:string Column21:long Column3:long"),
    ("extend b + 1 | extend b + 2", "a:string b:long d:dynamic t:datetime Column1:long Column2:long"),
    ("summarize by a, bin(b, 5), tolower(a)", "a:string b:long Column1:string"),
    ("summarize count(), dcount(a), sum(b), make_set(a), make_set(tolower(a)), max(t) + 1d by bin(t, 1h)",
     "t:datetime count_:long dcount_a:long sum_b:long set_a:dynamic set_:dynamic Column1:datetime"),
    ("summarize percentile(b, 99.5), percentiles(b, 5, 50.5), percentile(b + 1, 5)",
     "percentile_b_99_5:long percentile_b_5:long percentile_b_50_5:long percentile__5:long"),
    ("summarize arg_max(t, *) by a", "a:string t:datetime b:long d:dynamic"),
    ("summarize arg_max(b, tolower(a), t)", "b:long max_b_arg1:string t:datetime"),
    ("summarize (x, y) = arg_max(b, a, t), m = max(b)", "x:long y:string t:datetime m:long"),
    ("summarize take_any(a), take_any(a, b), y = any(a), any(b)",
     "a:string a1:string b:long y:string any_b:long"),
    ("summarize round(avg(b), 2)", "avg_b:real"),
    ("distinct a, b + 1", "a:string Column1:long"),
    ("mv-expand with_itemindex=i d.x, y = d to typeof(string)",
     "a:string b:long d:dynamic t:datetime d_x:dynamic y:string i:long"),
    ("mv-apply d on (summarize count() by tostring(d))", "a:string b:long t:datetime d:string count_:long"),
    ("mv-apply e = d to typeof(string) on (project e, z = a)",
     "a:string b:long d:dynamic t:datetime e:string z:string"),
    ("mv-apply d on (project a = 5, z = a)", "a:long b:long t:datetime z:string"),
    ("project a, b | mv-apply split(a, ',') to typeof(string) on (project n = strlen(a))",
     "a:string b:long n:long"),
    ("project a, b | mv-apply a = split(a, ',') on (project c = a, a)", "a:dynamic b:long c:dynamic"),
    ("evaluate bag_unpack(d) : (*, x:long, a:long)", "b:long t:datetime x:long a:long"),
    ("evaluate bag_unpack(d, 'p_') : (p_x:long, t:datetime)", "p_x:long t:datetime"),
    ("make-series count(), s = sum(b) on t from datetime(2020-01-01) to datetime(2020-01-02) step 1h by tolower(a)",
     "Column1:string count_:dynamic s:dynamic t:dynamic"),
    ("parse a with 'x' y:long 'z' b", "a:string b:string d:dynamic t:datetime y:long"),
    ("project a, b | top-nested 3 of a by sum(b), top-nested 1 of b by x = count()",
     "a:string aggregated_a:long b:long x:long"),
    ("top-hitters 3 of a by b", "a:string approximate_sum_b:long"),
    ("count", "Count:long"),
    ("count as n", "n:long"),
    ("extend x = b > 0 | summarize countif(b > 1), countif(x), count(a), any(1), any(a)",
     "countif_:long countif_x:long count_a:long any_:long any_a:string"),
    ("summarize anyif(a, b > 0), take_anyif(a, b > 0), take_anyif('x', b > 0)",
     "anyif_a:string a:string Column1:string"),
    ("summarize arg_max(t, A = a, b)", "t:datetime A:string b:long"),
    ("summarize percentile(toint(b), 5), binary_all_or(toint(b))", "percentile_b_5:long b:int"),
    ("serialize c = row_cumsum(toint(b)) | project c, d.x - d.y, -d.x, b - d.x",
     "c:int Column1:dynamic Column2:dynamic Column3:long"),
    ("summarize take_any(1), take_any(tolower(a)), take_anyif(tolower(a), true), any(tolower(a))",
     "any_arg0:long any_arg01:string Column1:string any_:string"),
    ("summarize argmax(b, 1), argmin(t, a)", "max_b:long max_b_arg1:long min_t:datetime min_t_a:string"),
    ("summarize percentile(todecimal(b), 5), percentilew(todecimal(b), 1, 50)",
     "percentile_b_5:real percentile_b_50:real"),
    ("project hll_merge(d, d), tdigest_merge(d, d)", "hll_merged_result:dynamic tdigests_merge_result:dynamic"),
    ("getschema kind=csl", "Schema:string"),
    ("project sqrt(todecimal(b)), pow(b, todecimal(b)), todecimal(b) + 1.5", "b:real b1:real Column1:decimal"),
    ("evaluate ipv4_lookup((datatable(n:string, b:long, c:long)[]), a, n, b)",
     "a:string b:long d:dynamic t:datetime n:string c:long"),
    ("project-reorder t, a* asc", "t:datetime a:string b:long d:dynamic"),
    ("project-rename x = a | project-away b, d*", "x:string t:datetime"),
    ("project-keep t, a", "a:string t:datetime"),
    ("getschema | project ColumnName, ColumnOrdinal", "ColumnName:string ColumnOrdinal:long"),
    ("project b / 2, b * 1.5, d.x + 1, d == 1, iff(true, b, 1.0), iff(true, a, b), -b",
     "Column1:long Column2:real Column3:long Column4:bool Column5:real Column6:dynamic Column7:long"),
    ("project t - t, t + 1d, 2 * 1h, 1d / 1h, bin(b, 2)",
     "Column1:timespan Column2:datetime Column3:timespan Column4:real b:long"),
    ("project a | search 'x'", "$table:string a:string"),
    ("serialize n = row_number(), prev(b)",
     "a:string b:long d:dynamic t:datetime n:long Column1:long"),
]  # fmt: skip


@pytest.mark.parametrize(("step", "expected"), NAMED)
def test_columns_are_named_and_typed(step: str, expected: str) -> None:
    assert columns(f"{T} | {step}") == expected


def test_print_numbers_what_has_no_name() -> None:
    """Neither a function nor a variable names a column of print."""
    told = columns("let v = 1; print v, strlen('a'), dynamic([1])[0], x = v, series_fit_line(dynamic([1]))")
    assert told.startswith("print_0:long print_1:long print_2:dynamic x:long series_fit_line__rsquare:real ")


def test_two_columns_of_one_name_are_refused_where_rows_begin() -> None:
    for query in ("print a = 1, a = 2", "datatable(a:long, a:string)[1, 'x']"):
        with pytest.raises(KqlError, match="two columns 'a'"):
            answer(query)


def test_columns_beside_the_declared_ones_go_through_a_function() -> None:
    query = f"let f = (X:(b:long)) {{ X | where b > 1 }}; {T} | invoke f()"
    assert columns(query) == "a:string b:long d:dynamic t:datetime"
    with pytest.raises(KqlError, match="must have a column 'c'"):
        answer(query.replace("X:(b:long)", "X:(c:long)"))


def test_what_is_gathered_along_a_path_is_named_as_it_is_written() -> None:
    graph = f"{T} | extend c = a | make-graph a --> c with_node_id=n"
    found = columns(f"{graph} | graph-match (x)-[e*1..2]->(y) project x.n, e.b, tostring(e.a), map(e, b), p = e.b")
    assert found == "x_n:string e_b:dynamic e_a:string Column1:dynamic p:dynamic"


def test_find_keeps_the_order_that_is_asked_for() -> None:
    one, other = "(datatable(a:string, b:long)[])", "(datatable(c:long, b:real, a:string)[])"
    find = "find in (X, Y) where a == 'x'"
    lets = f"let X = view() {{ {one} }}; let Y = view() {{ {other} }}; "
    assert columns(f"{lets}{find} project c, b, a") == "source_:string c:long b_long:long b_real:real a:string"
    assert columns(f"{lets}{find} and c > 1") == "source_:string a:string b_long:long b_real:real c:long pack_:dynamic"
    assert columns(f"{lets}{find} project a, pack_all()") == "source_:string a:string pack_:dynamic"
    assert columns(f"{lets}{find} project b: string, a, pack(*)") == "source_:string b:string a:string pack_:dynamic"
    with pytest.raises(KqlError, match="names of columns only"):
        columns(f"{lets}{find} project *")


def test_a_join_says_what_is_equal() -> None:
    with pytest.raises(KqlError, match="a join needs on") as raised:
        answer("Events | join kind=inner Other")
    assert raised.value.at == 9


def test_both_sides_of_a_join_keep_their_names() -> None:
    """Of one name the right column gets a number that is free."""
    left, right = "datatable(a:string, b:string)[]", "(datatable(a:string, b:string, b1:string)[])"
    assert columns(f"{left} | join {right} on a") == "a:string b:string a1:string b2:string b1:string"
    assert columns(f"{left} | lookup {right} on a") == "a:string b:string b2:string b1:string"
    assert columns(f"{left} | join kind=leftanti {right} on a") == "a:string b:string"
    assert columns(f"{left} | join kind=rightsemi {right} on $left.a == $right.b") == "a:string b:string b1:string"


def test_unions_tell_types_apart() -> None:
    tables = "(datatable(a:string, b:long)[]), (datatable(a:string, b:int, c:bool)[])"
    assert columns(f"union {tables}") == "a:string b_long:long b_int:int c:bool"
    assert columns(f"union withsource=s kind=inner {tables}") == "s:string a:string b_long:long b_int:int"


UNITED = [
    # Twice one type first, and it holds the others' values: one column.
    ("s:string; s:string; s:dynamic", "s:string"),
    ("s:dynamic; s:dynamic; s:long; s:string", "s:dynamic"),
    ("s:real; s:real; s:int; b:bool", "s:real b:bool"),
    ("s:decimal; s:decimal; s:long; s:int", "s:decimal"),
    # And where it cannot hold them all.
    ("s:int; s:int; s:string", "s:int"),
    ("s:real; s:real; s:long", "s:real"),
    ("s:datetime; s:datetime; s:dynamic; s:guid", "s:datetime"),
    # Another type among the first two.
    ("s:string; s:dynamic; s:string", "s_string:string s_dynamic:dynamic"),
    # The first two that have the name, whoever stands between.
    ("s:string; b:bool; s:string; s:guid", "s:string b:bool"),
]


@pytest.mark.parametrize(("tables", "expected"), UNITED)
def test_a_type_that_comes_twice_first_takes_the_others_in(tables: str, expected: str) -> None:
    assert columns(f"union {', '.join(f'(datatable({each})[])' for each in tables.split('; '))}") == expected


@pytest.mark.parametrize(
    "asked",
    [
        "| where isnotempty(s_dynamic)",
        "| extend x = column_ifexists('s_string', '')",
        "| as T | where s_dynamic.a == 1",
    ],
)
def test_columns_by_type_are_there_for_who_names_one(asked: str) -> None:
    tables = "(datatable(s:string)[]), (datatable(s:string)[]), (datatable(s:dynamic)[])"
    assert columns(f"union {tables} {asked}").startswith("s_string:string s_dynamic:dynamic")


READABLE = "shown where they can be read as int; name s_string in the query to see all of them."
HIDDEN = "not shown beside those of type datetime; name s_long in the query to see all of them."
NOTED = [
    ("s:int; s:int; s:string", "", [f"s: the values of type string are {READABLE}"]),
    ("s:int; s:int; s:string; s:dynamic", "", [f"s: the values of types string, dynamic are {READABLE}"]),
    ("s:datetime; s:datetime; s:long", "", [f"s: the values of type long are {HIDDEN}"]),
    ("s:int; s:int; s:string", "| where s > 1 | count", [f"s: the values of type string are {READABLE}"]),
    # Nobody asks for the column, or it holds all values, or the documented ones are there.
    ("s:int, a:int; s:int, a:int; s:string", "| project a", []),
    ("s:int; s:int; s:string", "| count", []),
    ("s:real; s:real; s:int", "", []),
    ("s:string; s:string; s:dynamic", "", []),
    ("s:int; s:int; s:string", "| where s_string == 'a'", []),
    ("s:int; s:string", "", []),
]


@pytest.mark.parametrize(("tables", "then", "expected"), NOTED)
def test_values_that_a_column_cannot_hold_are_told(tables: str, then: str, expected: list[str]) -> None:
    united = f"union {', '.join(f'(datatable({each})[])' for each in tables.split('; '))}"
    assert answer(f"{united} {then}").notes == expected
    assert answer(f"let U = {united} {then}; union U, U").notes == expected


def test_a_note_names_the_tables() -> None:
    tables: dict[str, dict[str, Scalar]] = {"A": {"Port": "int"}, "B": {"Port": "int"}, "C": {"Port": "string"}}
    more: dict[str, dict[str, Scalar]] = {f"D{n}": {"Port": "string"} for n in range(4)}
    said = "the values of type string are shown where they can be read as int; name Port_string in the query to see all"
    assert answer("union A, B, C", of_columns(tables)).notes == [f"Port: of table C {said} of them."]
    several = answer("union A, B, C, D*", of_columns({**tables, **more})).notes
    assert several == [f"Port: of tables C, D0, D1 and 2 more {said} of them."]


def test_notes_are_bounded() -> None:
    wide: dict[str, Scalar] = {f"{'c' * 80}{n}": "int" for n in range(30)}
    texts: dict[str, Scalar] = dict.fromkeys(wide, "string")
    notes = answer(f"union A, B, {'T' * 90}", of_columns({"A": wide, "B": wide, "T" * 90: texts})).notes
    assert len(notes) == 20 and notes[-1] == "11 more notes are not shown."
    assert all(len(each) <= 300 for each in notes) and notes[0].endswith("in the query to see all of them.")
    long: dict[str, Scalar] = {"c" * 400: "int"}
    (cut,) = answer("union A, B, T", of_columns({"A": long, "B": long, "T": {"c" * 400: "string"}})).notes
    assert len(cut) == 300 and cut.endswith("…")


def test_a_fuzzy_union_leaves_out_what_is_not_there() -> None:
    assert columns("union isfuzzy=true (Nowhere | where x == 1), Other | project Name") == "Name:string"
    with pytest.raises(KqlError, match="no table 'Nowhere'"):
        answer("union Nowhere, Other")
    with pytest.raises(KqlError, match="'missing'"):
        answer("union isfuzzy=true (Events | where missing == 1), Other")


def test_columns_may_differ_only_in_case() -> None:
    assert columns("Events | project Name, name") == "Name:string name:long"
    with pytest.raises(KqlError, match="did you mean 'Props'"):
        answer("Events | project props")


def test_only_what_is_used_is_read() -> None:
    found = answer("Events | where name > 1 | extend x = Props.a | summarize count() by Name")
    [table] = nodes(found.plan, p.Table)
    assert table.names == ["Name", "name"]


def test_lets_are_bound_where_they_stand() -> None:
    """A later let of the same name is not seen by an earlier one; what is unused is not looked at."""
    assert columns("let x = 1; let y = x; let x = 'a'; let z = nonsense(); print y = y, x = x") == "y:long x:string"
    assert columns("let f = (n: long, m: long = 2) { n + m }; print a = f(1), b = f(m = 1, n = 3)") == "a:long b:long"
    assert columns("let f = (T: (Name: string)) { T | extend n = 1 }; f(Other)").endswith("Size:int n:long")
    assert (
        columns("let f = (T: (*), c: string) { T | where Name == c | count }; Events | invoke f('x')") == "Count:long"
    )
    assert (
        columns("let f = (x: string) { let g = (y: string) { strcat(x, y) }; g('a') }; print f('b')")
        == "print_0:string"
    )


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("let f = (x: long) { f(x) }; print f(1)", "no function 'f'"),
        ("let f = (x: long) { x }; print f('a', 1)", "takes 1 arguments"),
        ("let f = (x: long) { x }; print f()", "needs the argument 'x'"),
        ("let f = (T: (nope: string)) { T }; f(Events)", "must have a column 'nope'"),
        ("let a = 1; a | count", "'a' is a value"),
        ("Events | where Events", "'Events'"),
        ("declare query_parameters(x: long); print x", "has no value"),
    ],
)
def test_wrong_functions_are_refused(query: str, message: str) -> None:
    with pytest.raises(KqlError, match=message):
        answer(query)


def test_functions_are_written_out_only_so_far() -> None:
    """Each calls the one before twice: 2 ** 30 calls."""
    lets = "".join(f"let f{n} = (x: long) {{ f{n - 1}(x) + f{n - 1}(x + 1) }}; " for n in range(1, 31))
    with pytest.raises(KqlError, match="too large") as caught:
        answer(f"let f0 = (x: long) {{ x }}; {lets} print f30(1)")
    assert caught.value.phase == "plan"


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("Events | join (Other | project Name = TimeGenerated) on Name", "a join of a string with a datetime"),
        ("Events | lookup (Other | project k = Name) on $left.name == $right.k", "a join of a long with a string"),
        ("Events | summarize x = sum(Props.a)", "dynamic values are of no one type; convert them first"),
        ("Events | summarize make_set(Name, name)", "argument 2 of make_set\\(\\) must be the same for all rows"),
        ("Events | where Name > 1", "'>' cannot be applied to string, long"),
        ("Events | where name has 'x'", "'has' cannot be applied to long, string"),
        ("Events | where Name", "must be a bool"),
        ("Events | project Name.x", "no members"),
        ("Events | summarize Name", "must stand in an aggregate"),
        ("Events | project sum(name)", "is an aggregate"),
        ("Events | join Other on name", "right side has no column"),
        ("Events | project x = 1, x = 2", "two columns 'x'"),
        ("Events | take 'a'", "whole number"),
        ("Events | project-away nope", "no column 'nope'"),
        ("database('other').Events", "no such place"),
        ("cluster('c').database('d').Events", "no such place"),
        ("workspace('w').Events", "no such place"),
        ("Evants", "did you mean Events"),
        ("Events | where row_cumsum(1, 2, 3) > 1", "row_cumsum"),
    ],
)
def test_wrong_queries_are_refused_with_their_place(query: str, message: str) -> None:
    with pytest.raises(KqlError, match=message) as caught:
        answer(query)
    assert caught.value.phase in ("bind", "plan")
    assert 0 <= caught.value.at < len(query)


@pytest.mark.parametrize(
    "query",
    ["Events | fork (count) (take 1)", "Events | facet by Name", "Events | reduce by Name",
     "Events | evaluate python(typeof(*), '')"],
)  # fmt: skip
def test_what_is_not_supported_says_so(query: str) -> None:
    with pytest.raises(KqlError, match="not supported") as caught:
        answer(query)
    assert caught.value.phase == "plan"


def test_now_is_one_instant() -> None:
    found = answer("print a = now(), b = ago(1d), c = now() - 1d")
    [row] = nodes(found.plan, p.Rows)[0].rows
    assert row[1] == row[2] == p.Value("datetime", row[0].value - 864_000_000_000)


def test_the_span_of_a_query_bounds_every_table() -> None:
    found = answer("union Events, Other | where Name in (Events | project Name)", since=NOW)
    assert len(nodes(found.plan, p.Filter)) == 4
    assert sorted(each.names[0] for each in nodes(found.plan, p.Table)) == ["TimeGenerated", "Timestamp", "Timestamp"]


def test_tables_of_let_are_shared() -> None:
    found = answer("let x = Events | where Name == 'a'; x | join x on Name")
    shared = nodes(found.plan, p.Shared)
    assert len({each.name for each in shared}) == 1
    ids = [out.id for each in shared for out in each.columns]
    assert len(ids) == len(set(ids))


def test_external_data_needs_leave() -> None:
    query = "externaldata (a: string, b: long) ['https://example.org/x.csv'] with (format='csv')"
    with pytest.raises(KqlError, match="not allowed"):
        answer(query)
    assert columns(query, empty=True) == "a:string b:long"
    seen: list[Any] = []
    found = answer(query, fetch=lambda *given: Given(seen, given))
    assert [each.table for each in nodes(found.plan, p.Table)] == ["external"]
    assert [f"{name}:{type_}" for name, type_ in found.columns] == ["a:string", "b:long"]
    assert seen == [([("a", "string"), ("b", "long")], {"format": "csv"}), "https://example.org/x.csv"]


class Given:
    """External data that is already there, in two columns of texts."""

    stored = Stored("external", {"0": "string", "1": "string"})

    def __init__(self, seen: list[Any], asked: Any) -> None:
        seen.append(asked)
        self.add = seen.append


def test_plugins_look_at_the_data() -> None:
    """Or are told the schema."""
    bag, pivot = "Events | project Props | evaluate bag_unpack(Props)", "Events | evaluate pivot(Name, count(), name)"
    assert columns(bag, ask=lambda plan: [("b", "long"), ("a", "string"), ("b", "double")]) == "a:string b:real"
    assert columns(pivot, ask=lambda plan: [("y",), ("x",)]) == "name:long x:long y:long"
    assert columns(f"{bag} : (z: long)") == "z:long"
    with pytest.raises(KqlError, match="depend on the data"):
        answer(bag)


@pytest.mark.parametrize(
    ("query", "wanted"),
    [
        ("where Place == 'here' and Size > 1 | count", "Count:long"),
        ("extend k = tostring(['@Key']), v = Value | project k, v, w = Other", "k:string v:dynamic w:dynamic"),
        ("summarize n = count(), take_any(Value) by tostring(Place)", "Place:string n:long Value:dynamic"),
        ("evaluate pivot(Key, take_any(Value), name) | project name, Image", "name:long Image:dynamic"),
        ("union (print name = 1) | where Place == 'here' | project name", "name:long"),
        ("join kind=inner (print name = 1) on name | project name, Place", "name:long Place:dynamic"),
        ("summarize arg_max(Value, *) by Key | distinct * | project Place", "Place:dynamic"),
        ("as X | join kind=leftanti X on name | project Place", "Place:dynamic"),
        ("mv-apply Value on (where Key == 1) | partition by name (take 1) | project Place", "Place:dynamic"),
        ("extend a = tostring(A) | evaluate ipv4_lookup((print b = '::'), a, b) | project Place", "Place:dynamic"),
    ],
)  # fmt: skip
def test_where_no_row_tells_the_columns_any_name_may_be_one(query: str, wanted: str) -> None:
    """A rule over what happens once a month must not fail on the other days."""
    empty = "Events | project name, Props | evaluate bag_unpack(Props) | "
    assert columns(empty + query, ask=lambda plan: []) == wanted
    with pytest.raises(KqlError, match=r"no column|name of a column"):
        columns(empty + query, ask=lambda plan: [("Some", "long")])


def test_what_has_a_name_keeps_columns_that_no_row_tells() -> None:
    bag = "let F = (T: (*)) { T | extend y = 1 }; let X = materialize(Events | evaluate bag_unpack(Props)); "
    assert columns(f"{bag} X | union X | invoke F() | project Place, y", ask=lambda plan: []) == "Place:dynamic y:long"
    with pytest.raises(KqlError, match="no column"):
        columns(f"{bag} X | summarize take_any(Value) by Key | project Place", ask=lambda plan: [])


def test_an_axis_that_is_called_as_another_column() -> None:
    """One that comes from an expression is numbered, one that is told is refused."""
    rows = "datatable(t: datetime, v: long)[] | make-series"
    assert columns(f"{rows} count() on t step 1d by bin(t, 1h)") == "t:datetime count_:dynamic t1:dynamic"
    assert columns(f"{rows} t = count() on bin(t, 1h) step 1d") == "t:dynamic t1:dynamic"
    for steps in ("count() on t step 1d by t", "count() on t = v step 1 by t", "t = count() on t step 1d"):
        with pytest.raises(KqlError, match="two columns 't'"):
            answer(f"{rows} {steps}")


def test_columns_are_put_in_the_order_of_their_names_whatever_their_case() -> None:
    rows = "datatable(aB: long, Aa: long, a_b: long, a10: long, ['a-b']: long, AB: long, a2: long)[] | project-reorder"
    for order, wanted in (
        ("asc", "a-b a10 a2 Aa aB AB a_b"),
        ("desc", "a_b aB AB Aa a2 a10 a-b"),
        ("granny-asc", "a-b a2 a10 Aa aB AB a_b"),
    ):
        assert columns(f"{rows} * {order}").replace(":long", "") == wanted


def test_what_pivot_gives_is_what_its_schema_says() -> None:
    rows = "datatable(a: string, b: string)[] | evaluate pivot(a, count(), b)"
    assert columns(f"{rows} : (x: long, b: string)") == "x:long b:string"
    assert columns(f"{rows} : (*, x: long)") == "b:string x:long"
    with pytest.raises(KqlError, match="gives the column 'b', which its schema does not tell"):
        answer(f"{rows} : (x: long)")
    with pytest.raises(KqlError, match="gives the column 'x' as long; its schema says string"):
        answer(f"{rows} : (x: string, b: string)")


def test_bag_unpack_takes_a_list_of_names_to_ignore() -> None:
    with pytest.raises(KqlError, match="an array of names"):
        columns("Events | evaluate bag_unpack(Props, ignoredProperties='abc') : (a: long)")


def test_a_projection_says_which_columns_there_are() -> None:
    with pytest.raises(KqlError, match="no column or variable 'Place'"):
        columns("Events | evaluate bag_unpack(Props) | project a = Value | where Place == 1", ask=lambda plan: [])


def test_saved_functions_views_and_watchlists() -> None:
    catalogue = Catalogue(
        tables=CATALOGUE.tables,
        functions={"Twice": "(x: long) { x * 2 }", "Names": "Events | project Name", "Loop": "() { Loop() }"},
        views={"Recent": "Events | where Timestamp > ago(1d)", "Self": "Self | count"},
        watchlists={"vips": Stored("watchlist_1", {"SearchKey": "string"})},
    )
    assert columns("Names | extend n = Twice(1)", catalogue) == "Name:string n:long"
    assert columns("Recent | project name", catalogue) == "name:long"
    assert columns("_GetWatchlist('vips')", catalogue) == "SearchKey:string"
    for query in ("Loop()", "Self"):
        with pytest.raises(KqlError, match="itself"):
            answer(query, catalogue)
    with pytest.raises(KqlError, match="no watchlist"):
        answer("_GetWatchlist('others')", catalogue)


def test_a_table_of_each_row_is_refused() -> None:
    """toscalar and in are worked out once, not for each row."""
    lets = "let f = (n: string) { toscalar(Other | where Name == n | count) }; "
    assert columns(f"{lets} Events | project x = f('a')") == "x:long"
    with pytest.raises(KqlError, match="depends on the row"):
        answer(f"{lets} Events | project x = f(Name)")


def test_an_index_picks_one_of_several_results() -> None:
    assert columns("print d = dynamic([3, 1]) | project s = series_stats(d)[3]") == "s:long"
    with pytest.raises(KqlError, match="gives 7 values"):
        answer("print d = dynamic([3, 1]) | project s = series_stats(d)[7]")


@pytest.mark.parametrize(
    ("query", "wanted"),
    [
        ("reduce by Name", "Pattern:string Count:long Representative:string"),
        ("reduce kind=source by tolower(Name) with characters='-'",
         "Timestamp:datetime Name:string name:long Props:dynamic Pattern:string"),
        ("project Name | evaluate diffpatterns(Name, 'a', 'b')", "SegmentId:long CountA:long CountB:long PercentA:real "
         "PercentB:real PercentDiffAB:real Name:string"),
        ("project Count = name | evaluate basket()", "SegmentId:long Count1:long Percent:real Count:long"),
    ],
)  # fmt: skip
def test_what_is_known_by_its_columns_only(query: str, wanted: str) -> None:
    assert columns(f"Events | {query}", empty=True) == wanted
    with pytest.raises(KqlError, match="is not published"):
        columns(f"Events | {query}")


@pytest.mark.parametrize(
    "query", ["_Im_Dns(starttime=ago(1d))", "imAuthentication | count", "union _ASim_WebSession, Events"]
)
def test_parsers_of_asim_are_functions_that_one_saves(query: str) -> None:
    """Which then are called by name, with or without arguments, and in fuzzy unions left out where they are not."""
    with pytest.raises(KqlError, match="ASIM are not built in: save a function"):
        columns(query)
    assert columns("union isfuzzy=true _Im_Dns(), imAuthentication, Other | project Size") == "Size:int"
    body = (
        "(starttime: datetime = datetime(null), disabled: bool = false) { Events | where not(disabled) | project Name }"
    )
    saved = replace(CATALOGUE, functions=dict.fromkeys(("_Im_Dns", "imAuthentication", "_ASim_WebSession"), body))
    assert columns(query.replace(" | count", ""), saved).startswith(("Name:string", "Timestamp", "Name"))
