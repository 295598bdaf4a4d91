"""A printed tree parses to itself."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from tests.hunt.trees import bare, expressions, queries

from bartizan.hunt import tree
from bartizan.hunt.fault import KqlError
from bartizan.hunt.parser import parse
from bartizan.hunt.printer import show


def again(query: tree.Query) -> tree.Query:
    return parse(show(query))


@pytest.mark.parametrize("suite", ["docs", "emulator", "hunting"])
def test_suites(shared: Path, suite: str) -> None:
    """Every public query that parses is printed to text that parses to the same tree, and prints the same."""
    seen = 0
    for line in (shared / "hunting" / f"{suite}-examples.jsonl").read_text().splitlines():
        try:
            query = parse(json.loads(line)["query"])
        except KqlError:
            continue
        text = show(query)
        second = parse(text)
        assert bare(second) == bare(query), text
        assert show(second) == text
        seen += 1
    assert seen > 200


@given(expressions)
@settings(max_examples=200)
def test_grown_expressions(expr: tree.Expr) -> None:
    """Whatever an expression is grown of, its text says the same."""
    condition = tree.Operator(name="where", body=tree.Condition(expr=expr))
    query = tree.Query(
        statements=[], results=[tree.Pipe(source=tree.Source(name=tree.Name(name="T")), operators=[condition])]
    )
    assert bare(again(query)) == bare(query)


@given(queries)
@settings(max_examples=120)
def test_grown_queries(query: tree.Query) -> None:
    """So does a query of several operators, sub-queries and results."""
    assert bare(again(query)) == bare(query)


@pytest.mark.parametrize(
    "text",
    [
        "let f = (a: string, T: (x: int, y: dynamic), b: long = -5) { let c = a; T | where x > b }; f('x', U)",
        "let v = view () { T }; let m = materialize(T | take 5); let s = toscalar(T | count); m | where x == s",
        "let x = ['toscalar'](T); let y = (T); let z = (1); print x, y, z",
        "set notruncation; set query_take_max_records = 5; declare query_parameters (d: datetime = datetime(2020)); T",
        "alias database D = cluster('c').database('d'); restrict access to (T, database('d').U, V*); database('D').T",
        "declare pattern p; declare pattern q = (a: string) [b: string] { ('x').['y'] = { T | take 1 }; }; T",
        "datatable (a: long, ['b c']: timespan) [1, -2d, long(null), time(1.02:03:04.5),] | project-keep a*, *c",
        "externaldata (x: string) [@'https://e.org/a' h'?sig'] with (format='csv', ignoreFirstRecord=true)",
        "range x from -1 to 10 step 2 | as hint.materialized=true R | union withsource=S kind=outer (T), U*, f(3)",
        "find withsource=S in (T, U | as V, database('d').W*) where a has 'x' project a, b: long, pack(*)",
        "search kind=case_sensitive in (T, U*) 'x' and a: 'b' or * has 'c'",
        "search * and a == 1 | sort by a asc nulls first, b desc, c nulls last",
        "T | project-reorder a asc, b* desc, *c granny-asc | project-rename x = a",
        "T | parse kind=regex flags=Ui a with * 'x' b: long \"y\" 'z' c * | parse-where a with b 'c' d",
        "T | parse-kv a as (b: string, c: long) with (pair_delimiter=',', kv_delimiter='=', greedy=true)",
        "T | parse-kv a as (b: string) with (pair_delimiter=' ', kv_delimiter='=', quote='\"', quote='()')",
        "T | mv-expand kind=array with_itemindex=i a, b = c to typeof(long) limit 5",
        "T | mv-apply with_itemindex=i x = a to typeof(string), b limit 3 on (where x > 1 | top 1 by x | project x)",
        "T | make-series kind=nonempty n = count() default = 0, avg(b) on t from ago(1d) to now() step 1h by c, d = e",
        "T | make-series count() on t in range(ago(1d), now(), 1h)",
        "T | top-nested 3 of a with others = 'o' by count() desc nulls last, top-nested of b by sum(c)",
        "T | top-hitters 3 of a by b | sample-distinct 5 of a | sample 3 | distinct * | serialize n = row_number()",
        "T | scan with_match_id=m order by a asc partition by b declare (c: long = 0, d: string) with "
        "(step s1: a > 1; step s2 optional output=last: a > s1.a => c = s1.c + 1, d = 'x';)",
        "T | partition hint.strategy=native by a (top 1 by b) | partition by a { U | where b == a }",
        "T | fork x=(where a == 1 | count) (take 5) | facet by a, b with (where c | count) | facet by a with count",
        "T | evaluate hint.distribution=single pivot(a, sum(b)) : (*, c: long) | invoke f(1).g(x) | evaluate b()",
        "T | render timechart with (title='x', ycolumns=a, b, series=c, ymin=-1.5, legend=hidden)",
        "T | reduce kind=source by a with threshold=0.5, characters='.' | getschema kind=csl | count as n | consume",
        "T | make-graph a --> b with N on id, (M | take 1) on ['k k'] | graph-match cycles=none "
        "(x)-[e*1..5]->(y)<-[f]-(z)--(), (z)-->(w)<--(v)-[g]-(u) where x.a == 1 project a = x.b, e.c",
        "T | make-graph a -- b with_node_id=n | graph-to-table nodes as N with_node_id=i, edges as E with_source_id=s",
        "T | make-graph a --> b partitioned-by t (graph-mark-components kind=weak with_component_id=c)",
        "T | graph-shortest-paths output=all (a)-[e*1..3]->(b) project a.x | assert-schema (a: long, b: string)",
        "macro-expand isfuzzy=true entity_group [cluster('a').database('b'), database('c')] as s (let x = 1; T)",
        "macro-expand eg as s (T | count)",
        "T | lookup kind=leftouter (U) on $left.a == $right.b, c | join kind=leftanti hint.shufflekey=a U on a",
        "print a.b[0]['c'][-1].['d e'].f(1), (x, y) = g(n = 1, *), -z, typeof(string), typeof(a: int, *)",
        "print real(nan), real(-inf), 1e300, decimal(1.50), guid(74be27de1e4e49d9b579fe0b331d3642)",
        "print bool(null), int(-5), long(-9223372036854775808), -2, +3",
        "print dynamic({'a': [1, -2.5, null, true, datetime(2020-01-01), 1d, dynamic([1])], \"b\": {}}), dynamic(null)",
        "print a between (1 .. 5), b !between (-1d .. 1d), c in (T | project d)",
        "print e has_any ('x', 'y'), (T | count) == 1, f((T | take 1), T), datatable (a: int) [1] == 1",
    ],
)
def test_every_construct(text: str) -> None:
    """Each operator and statement comes back."""
    query = parse(text)
    assert bare(again(query)) == bare(query), show(query)


@pytest.mark.parametrize(
    ("text", "today"),
    [
        ("T | filter a <> 1 | limit 5", "T\n| where a != 1\n| take 5"),
        ("T | order by a | mvexpand b", "T\n| sort by a\n| mv-expand b"),
        ("T | where a notcontains 'b' and c containscs 'd'", 'T\n| where a !contains "b" and c contains_cs "d"'),
        ("union with_source=S T", "union withsource=S T"),
    ],
)
def test_todays_spelling(text: str, today: str) -> None:
    """Old spellings are read, today's are written."""
    assert show(parse(text)) == today
