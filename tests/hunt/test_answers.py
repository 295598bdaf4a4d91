"""Queries that need no table, and the rows that they give."""

from datetime import UTC, datetime
from random import Random
from typing import Any

import duckdb
import pytest
from tests.hunt.harness import Harness

from bartizan.hunt import translate
from bartizan.hunt.catalogue import of_columns
from bartizan.hunt.fault import KqlError

_HARNESS = Harness({})
STEPS = 'datatable(t: timespan, e: string)[0m, "A", 1m, "Go", 2m, "B", 4m, "End", 6m, "C", 8m, "Go", 20m, "End"]'
SCANS: list[tuple[str, list[list[Any]]]] = [
    (
        "range x from 1 to 4 step 1 | scan declare (c: long = 0) with (step s: true => c = s.c + x;)",
        [[1, 1], [2, 3], [3, 6], [4, 10]],
    ),
    # A column of the source is assigned to in its place; a step remembers what it was given.
    (
        "range x from 1 to 3 step 1 | extend p = 0.5, y = 7 | scan with (step s: true => p = todouble(s.x), y = s.y;)",
        [[1, None, None], [2, 1, None], [3, 2, None]],
    ),
    # Part by part, in order.
    (
        'datatable(k: string, v: long)["b", 3, "a", 2, "a", 1, "b", 1] | scan with_match_id=m order by v asc partition '
        "by k declare (c: long = 0) with (step s: true => c = s.c + v;) | sort by k asc, v asc",
        [["a", 1, 1, 0], ["a", 2, 3, 0], ["b", 1, 1, 0], ["b", 3, 4, 0]],
    ),
    (
        "range x from 1 to 3 step 1 | scan order by x desc declare (c: long = 0) with (step s: true => c = s.c + x;)",
        [[3, 3], [2, 5], [1, 6]],
    ),
    # The name alone is what the column begins with.
    (
        "range x from 1 to 2 step 1 | scan declare (c: long = 5) with (step s: true => c = c + x;)",
        [[1, 6], [2, 7]],
    ),
    # What a step does not assign has its default; a string without one is empty.
    ("print x = 1 | scan declare (c: long, s: string) with (step a: true;)", [[1, None, ""]]),
    (
        'datatable(v: string)["", "a", "", "b"] | scan declare (f: string = "z") with '
        "(step s: true => f = iff(isempty(v), s.f, v);)",
        [["", "z"], ["a", "a"], ["", "a"], ["b", "b"]],
    ),
    # A condition that is null is not met.
    ("datatable(v: long)[long(null), 1] | scan with (step s: v > 0;)", [[1]]),
    (
        f'{STEPS} | sort by t asc | scan with_match_id=m with (step a: e == "Go"; '
        'step b: e !in ("Go", "End") and t - a.t <= 5m; step c: e == "End" and t - a.t <= 5m;)',
        [["00:01:00", "Go", 0], ["00:02:00", "B", 0], ["00:04:00", "End", 0], ["00:08:00", "Go", 1]],
    ),
    # Of matches that repeat only the last; of another step none.
    (
        "range x from 1 to 6 step 1 | scan with_match_id=m with (step a output=last: x % 3 != 0; step b: x % 3 == 0;)",
        [[2, 0], [3, 0], [5, 1], [6, 1]],
    ),
    ("range x from 1 to 3 step 1 | scan with (step a output=none: x > 0; step b: x == 3;)", [[3]]),
    # Each part is gone over apart.
    (
        "range x from 1 to 6 step 1 | extend g = x % 2 | partition by g (scan declare (c: long = 0) with "
        "(step s: true => c = s.c + x;)) | sort by x asc | project x, c",
        [[1, 1], [2, 2], [3, 4], [4, 6], [5, 9], [6, 12]],
    ),
    # Of the source's columns nothing is remembered at first.
    (
        "range x from 1 to 3 step 1 | extend y = x * 2 | scan declare (c: long = 0) with "
        "(step s: true => c = s.y + y;) | project c",
        [[None], [6], [10]],
    ),
    ("range x from 1 to 0 step 1 | scan with (step s: true;)", []),
]
KNOWN = "let Few = toscalar(datatable(v: string)['b', 'c', 'd'] | summarize make_set(v)); "
LITTLE: list[tuple[str, list[list[Any]]]] = [
    # What a table gives as a value may stand wherever one may.
    (
        f"{KNOWN} print d = dynamic(['a', 'b']) | project set_difference(d, Few), set_intersect(d, Few), "
        "array_index_of(Few, 'c'), strcat_array(array_sort_desc(Few), toscalar(print '-'))",
        [[["a"], ["b"], 1, "d-c-b"]],
    ),
    (
        f"{KNOWN} print x = 'b' | mv-expand y = Few to typeof(string) | where array_index_of(Few, y) >= "
        "array_index_of(Few, x) and y in (Few) and y has_any (Few) | summarize n = count(), make_set(y)",
        [[3, ["b", "c", "d"]]],
    ),
    (
        "let Net = toscalar(print dynamic(['10.0.0.0/8'])); datatable(a: string)['10.1.2.3', '8.8.8.8'] "
        "| where ipv4_is_in_any_range(a, Net)",
        [["10.1.2.3"]],
    ),
    (
        "let L = toscalar(print 2); range x from 1 to 2 step 1 | project array_split(range(x, L + x), L)",
        [[[[1, 2], [3]]], [[[2, 3], [4]]]],
    ),
    (
        "datatable(a: long, b: string, c: real)[1, 'x', 2.5] | project bag_pack_columns(a, c)",
        [[{"a": 1, "c": 2.5}]],
    ),
    (
        "print d = dynamic([2.5, 7, 'x', 1]) | mv-expand d | summarize percentile(d, 50), percentiles(d, 90, 1)",
        [[2.5, 7, 1]],
    ),
    # A bag by a schema: in its order, what the rows have is theirs; arguments by their names.
    (
        "datatable(n: string, b: dynamic)['a', dynamic({'n': 'z', 't': '2024-02-02', 'x': 1})] | evaluate "
        "bag_unpack(b, columnsConflict='keep_source') : (x: long, n: string, t: datetime, none: string)",
        [[1, "a", "2024-02-02T00:00:00Z", ""]],
    ),
    (
        "datatable(n: string, b: dynamic)['a', dynamic({'n': 'z', 'x': 1})] | evaluate "
        "bag_unpack(b, ignoredProperties=dynamic(['x']), OutputColumnPrefix='p_')",
        [["a", "z"]],
    ),
    # Beside an instant a dynamic value is one.
    (
        "print t = datetime(2024-01-02), d = dynamic({'at': '2024-01-01T12:00:00Z'}) | project t - d.at, d.at - t",
        [["12:00:00", "-12:00:00"]],
    ),
    # Pairs: quotes of several kinds, escapes in them, keys and values by a regular expression.
    (
        r"""print s = @"id=7 name='A ""b"" c' who=""x \""y\"" z"" path=(a b)" | parse-kv s as (name: string, """
        r"""who: string, path: string, id: long) with (pair_delimiter=' ', kv_delimiter='=', quote='"', """
        r"""quote="'", quote='()', escape='\\') | project-away s""",
        [['A "b" c', 'x "y" z', "a b", 7]],
    ),
    (
        r"""print s = "OrderId:5; Id : 6 ;Name:x; Id:7" | parse-kv s as (Id: long, Name: string, None: string) """
        r"""with (regex = @"(\w+)\s*:\s*(\w+)") | project-away s""",
        [[6, "x", ""]],
    ),
    # Without delimiters whatever is neither letter nor digit is one.
    (
        r"""print s = "10:00:34 ThreadId:458745723, Machine:Node001, Text: 'The service \\' is up'" | parse-kv s """
        r"""as (Text: string, ThreadId: long, Machine: string) with (quote="'", escape='\\') | project-away s""",
        [["The service ' is up", 458745723, "Node001"]],
    ),
    ("print s = 'x Text: Started' | parse-kv s as (Text: string, None: long) | project-away s", [["Started", None]]),
    # Regular expressions with named groups, and classes that only RE2 knows.
    (
        r"""print s = "bob@ex.com" | where s matches regex @"^(?<user>\p{L}+)@" """
        r"""| parse kind=regex s with @"(?<user>[[:alpha:]]+)@" domain | project domain""",
        [["ex.com"]],
    ),
    # A list of several types: in any of them.
    (
        "range x from 1 to 3 step 1 | extend d = pack_array(x)[0] | where d in ('a', 2) or d !in ('b', 1, 2)",
        [[2, 2], [3, 3]],
    ),
    # Of several results extend takes those that have names, project all.
    ("print s = dynamic([3, 1]) | extend (a, b) = series_stats(s) | project-away s", [[1.0, 1]]),
    (
        "print s = dynamic([3, 1]) | project (a, b) = series_fft(s), (c) = series_fft(s)",
        [[[4.0, 2.0], [0.0, 0.0], [4.0, 2.0]]],
    ),
    # What is the same in all rows orders none.
    ("print x = 'a', y = 1 | top 5 by x", [["a", 1]]),
    # Whole numbers wrap around at their own size.
    (
        "range x from 1 to 2 step 1 | serialize c = row_cumsum(toint(2000000000)) | project c",
        [[2000000000], [-294967296]],
    ),
    ("datatable(v: int)[12, 10] | summarize binary_all_and(v), percentile(v, 50)", [[8, 10]]),
    # Dynamic values are reckoned with as the numbers that they are.
    (
        "print x = dynamic({'a': 2.5, 'b': 7, 'c': 'q', 'n': -7}) | project x.b - x.a, x.b * x.b, x.b / dynamic(2), "
        "x.b / x.a, x.n % dynamic(4), -x.n, x.c + x.b, x.none - x.b, x.b / dynamic(0)",
        [[4.5, 49, 3, 2.8, 1, 7, None, None, None]],
    ),
    (
        "datatable(a: string, k: long)['10.1.2.3', 1, '10.1.2.3', 2] | evaluate ipv4_lookup("
        "(datatable(n: string, k: long, who: string)['10.0.0.0/8', 2, 'us']), a, n, k)",
        [["10.1.2.3", 2, "10.0.0.0/8", "us"]],
    ),
    (
        "datatable(['a b']: long, c: dynamic)[] | getschema kind=csl",
        [["['a b']:long,c:dynamic"]],
    ),
    # A column that takes the other types in keeps what they hold.
    (
        "union (print s = 'a'), (print s = ''), (print s = dynamic({'x': 1})), (print s = 2.5), "
        "(print s = dynamic(null)) "
        "| sort by s asc | project s, isempty(s)",
        [["", True], ["", True], ["2.5", False], ["a", False], ['{"x":1}', False]],
    ),
    (
        "union (print s = dynamic([1])), (print s = dynamic('q')), (print s = 7), (print s = '8') "
        "| project s, t = gettype(s) | sort by t asc, tostring(s) asc",
        [[[1], "array"], [7, "long"], ["8", "string"], ["q", "string"]],
    ),
    # Of what it cannot hold it keeps what is the same value in its type.
    (
        "union (print s = int(1)), (print s = int(2)), (datatable(s: string)"
        "['443', ' 8 ', '007', 'x', '', '1.5', '0xFF', '0xFFFFFFFF', '4294967297', '-2147483648']) "
        "| sort by s asc | project s",
        [[each] for each in (None, None, None, None, None, -2147483648, 1, 2, 7, 8, 255, 443)],
    ),
    (
        "union (print s = int(1)), (print s = int(2)), (datatable(s: long)[5, 2147483647, 2147483648, long(null)]), "
        "(datatable(s: real)[6.0, 6.5, 1e300, real(nan), real(+inf)]), (print s = true), "
        "(datatable(s: dynamic)[dynamic(9), dynamic('10'), dynamic(9.5), dynamic([1]), dynamic('x')]) "
        "| where isnotnull(s) | sort by s asc | project s",
        [[1], [1], [2], [5], [6], [9], [10], [2147483647]],
    ),
    (
        "union (print s = 1), (print s = 2), (datatable(s: real)[3.0, 9223372036854775808.0, -0.5]), "
        "(datatable(s: decimal)[decimal(4.0), decimal(4.5), decimal(9223372036854775808)]) "
        "| where isnotnull(s) | sort by s asc | project s",
        [[1], [2], [3], [4]],
    ),
    (
        "union (print s = 1.5), (print s = 2.5), (datatable(s: long)[3, 9007199254740993, 9223372036854775807]), "
        "(datatable(s: string)['4.25', '1e3', 'x', '']) | where isnotnull(s) | sort by s asc | project s",
        [[1.5], [2.5], [3.0], [4.25], [1000.0]],
    ),
    (
        "union (print s = true), (print s = true), (datatable(s: long)[0, 1, 2]), (datatable(s: dynamic)"
        "[dynamic(false), dynamic('True'), dynamic(5)]), (datatable(s: string)['False', '5', 'x']) "
        "| summarize c = count() by s | sort by s asc",
        [[None, 4], [False, 3], [True, 4]],
    ),
    (
        "union (print s = datetime(2020-01-01)), (print s = datetime(2020-01-02)), (print s = '2020-01-03T04:00:00Z'), "
        "(print s = 'x'), (print s = 5), (print s = 1d) | where isnotnull(s) | sort by s asc | project s",
        [["2020-01-01T00:00:00Z"], ["2020-01-02T00:00:00Z"], ["2020-01-03T04:00:00Z"]],
    ),
    (
        "let g = guid(74be27de-1e4e-49d9-b579-fe0b331d3642); union (print s = g), (print s = g), "
        "(print s = tostring(g)), (print s = 'x') | summarize c = count() by s | sort by c asc | project c",
        [[1], [3]],
    ),
    # Who asks for it by type sees all.
    (
        "union (print s = int(1)), (print s = int(2)), (print s = 'x') | where isnull(s_int) | project s_string",
        [["x"]],
    ),
    (
        "union (print s = 'a'), (print s = 'b'), (print s = dynamic({'x': 1})) | where isnotnull(s_dynamic.x) "
        "| project s_string, s_dynamic",
        [["", {"x": 1}]],
    ),
    (
        "let f = (X: (k: long)) { X | where k > 1 }; datatable(k: long, v: string)[1, 'a', 2, 'b'] | invoke f()",
        [[2, "b"]],
    ),
]
PEOPLE = 'let P = datatable(name: string, age: long)["A", 30, "B", 20, "C", 25, "D", 40];'
EDGES = 'let E = datatable(s: string, t: string, w: long)["A", "B", 1, "B", "C", 2, "C", "A", 3, "C", "X", 4];'
GRAPH = f"{PEOPLE}{EDGES} E | make-graph s --> t with P on name"
KEYS = f"{EDGES} E | make-graph s --> t with_node_id=n"
GRAPHS: list[tuple[str, list[list[Any]]]] = [
    (
        f'{GRAPH} | graph-match (a)-[e]->(b) where a.name == "C" project b.name, b.age, e.w',
        [["A", 30, 3], ["X", None, 4]],
    ),
    # A node or an edge by itself is a bag of its properties, a path an array of those of its edges.
    (
        f'{GRAPH} | graph-match (a)-[e]->(b) where a.name == "A" project a, e, b["age"], tostring(b)',
        [[{"name": "A", "age": 30}, {"s": "A", "t": "B", "w": 1}, 20, '{"name":"B","age":20}']],
    ),
    (
        f'{GRAPH} | graph-match (a)-[e*2..2]->(b) where a.name == "A" project e',
        [[[{"s": "A", "t": "B", "w": 1}, {"s": "B", "t": "C", "w": 2}]]],
    ),
    (f"{KEYS} | graph-match (a)-[e]->(b) where e.w == 4 project a, x = b | getschema | project ColumnName, ColumnType",
     [["a", "dynamic"], ["x", "dynamic"]]),
    (f'{GRAPH} | graph-match (a)<-[e]-(b) where a.name == "C" project x = b.name', [["B"]]),
    (f'{GRAPH} | graph-match (a)-[e]-(b) where a.name == "C" project x = b.name, e.w', [["A", 3], ["B", 2], ["X", 4]]),
    (f'{GRAPH} | graph-match (a)-->(b)-->(c) where a.name == "A" project x = c.name', [["C"]]),
    # A name that comes again is the same node.
    (f"{GRAPH} | graph-match (a)-->(b)-->(c)-->(a) project x = a.name", [["A"], ["B"], ["C"]]),
    (f'{GRAPH} | graph-match (a)-->(b), (b)-->(c) where a.name == "B" project x = c.name', [["A"], ["X"]]),
    # A node without edges is a node.
    (f"{GRAPH} | graph-match (a) where a.age > 29 project x = a.name", [["A"], ["D"]]),
    # A property of such a path is that of each of its edges.
    (f'{GRAPH} | graph-match (a)-[e*2..2]->(b) where e.w[1] == 2 project x = b.name, e.w', [["C", [1, 2]]]),
    (
        f'{GRAPH} | graph-match (a)-[e*1..3]->(b) where a.name == "A" project x = b.name, n = array_length(e)',
        [["A", 3], ["B", 1], ["C", 2], ["X", 3]],
    ),
    # What is asked of the first node alone, of the last, and of both.
    (
        f'{GRAPH} | graph-match (a)-[e*1..2]->(b) where (a.name == "B" and b.age > 20) and a.age < b.age '
        "project x = a.name, y = b.name",
        [["B", "A"], ["B", "C"]],
    ),
    # No edge is gone along twice, unless cycles may.
    (
        f'{GRAPH} | graph-match (a)-[e*1..4]->(b) where a.name == "A" project x = b.name, p = map(e, w)',
        [["A", [1, 2, 3]], ["B", [1]], ["C", [1, 2]], ["X", [1, 2, 4]]],
    ),
    (
        f'{GRAPH} | graph-match cycles=all (a)-[e*4..4]->(b) where a.name == "A" project p = map(e, w)',
        [[[1, 2, 3, 1]]],
    ),
    (f"{GRAPH} | graph-match cycles=none (a)-->(b)-->(c) project x = a.name, y = c.name", [
        ["A", "C"], ["B", "A"], ["B", "X"], ["C", "B"],
    ]),
    (
        f'{GRAPH} | graph-match (a)-[e*1..3]->(b) where a.name == "A" and all(inner_nodes(e), age < 25) '
        "project x = b.name, i = map(inner_nodes(e), name), big = any(e, w > 1)",
        [["B", [], False], ["C", ["B"], True]],
    ),
    (f'{KEYS} | graph-match (a)-[e*0..1]->(b) where a.n == "A" project x = b.n, p = map(e, w)',
     [["A", []], ["B", [1]]]),
    (
        f'{KEYS} | graph-shortest-paths (a)-[e*1..5]->(b) where a.n == "A" project x = b.n, p = map(e, w)',
        [["A", [1, 2, 3]], ["B", [1]], ["C", [1, 2]], ["X", [1, 2, 4]]],
    ),
    (f"{GRAPH} | graph-where-nodes age > 22 | graph-match (a)-->(b) project x = a.name, y = b.name", [["C", "A"]]),
    (f"{GRAPH} | graph-where-edges w < 3 | graph-to-table edges | project w", [[1], [2]]),
    # No node comes twice, on whatever path.
    (f'{GRAPH} | graph-match cycles=none (a)-[e*1..4]->(b) where a.name == "A" project x = b.name, p = map(e, w)',
     [["B", [1]], ["C", [1, 2]], ["X", [1, 2, 4]]]),
    (f'{GRAPH} | graph-match cycles=none (a)-[e*1..2]->(b)-[f*1..2]->(c) project a.name, b.name, c.name, map(e, w)',
     [["A", "B", "C", [1]], ["A", "B", "X", [1]], ["A", "C", "X", [1, 2]],
      ["B", "C", "A", [2]], ["B", "C", "X", [2]], ["C", "A", "B", [3]]]),
    # Graphs apart: the same key in each, its properties those of its part.
    (
        'let N = datatable(id: long, p: string, v: string)[1, "x", "x1", 2, "x", "x2", 1, "y", "y1"]; '
        'datatable(s: long, t: long, p: string)[1, 2, "x", 2, 1, "y", 3, 1, "y"] | make-graph s --> t with N on id '
        "partitioned-by p (graph-match (a)-->(b) project a.id, a.v, b.id, b.v)",
        [[1, "x1", 2, "x2"], [2, "", 1, "y1"], [3, "", 1, "y1"]],
    ),
    # What hangs together, numbered as the edges come; a node without edges is a component.
    (f"{GRAPH} | graph-mark-components | graph-to-table nodes | project name, ComponentId",
     [["A", 0], ["B", 0], ["C", 0], ["D", 1], ["X", 0]]),
    (f"{GRAPH} | graph-mark-components kind=strong with_component_id=c | graph-to-table nodes | project name, c",
     [["A", 0], ["B", 0], ["C", 0], ["D", 2], ["X", 1]]),
    (
        'datatable(c: string, p: string)["Alice", "Bob", "Carol", "Alice", "Carol", "Dave", "Greg", "Alice", "Greg", '
        '"Dave", "Howard", "Alice", "Howard", "Dave", "Eve", "Frank", "Frank", "Mallory", "Eve", "Kirk"] | make-graph '
        "c --> p with_node_id=name | graph-mark-components with_component_id=family | graph-match "
        "(descendant)-[way*1..5]->(ancestor) project name = ancestor.name, lineage = map(way, c), family = "
        "ancestor.family | summarize (generations, name) = arg_max(array_length(lineage), name) by family",
        [[0, 2, "Bob"], [1, 2, "Mallory"]],
    ),
    ("range n from 1 to 4 step 1 | extend m = n % 2 + 1 | make-graph n --> m with_node_id=id | graph-mark-components "
     "kind=strong | graph-to-table nodes", [[1, 0], [2, 0], [3, 1], [4, 2]]),
    (f"{GRAPH} | graph-to-table nodes", [["A", 30], ["B", 20], ["C", 25], ["D", 40], ["X", None]]),
    (f"{EDGES} let G = E | make-graph s --> t with_node_id=n; G | graph-match (a)-->(b) project a.n", [
        ["A"], ["B"], ["C"], ["C"],
    ]),
]  # fmt: skip
NETS = 'let N = datatable(net: string, who: string)["10.1.0.0/16", "a", "10.2.0.0/16", "b"];'
HOSTS = 'datatable(ip: string, n: long)["10.1.2.3", 1, "192.168.1.1", 2]'
SHAPES = """let S = datatable(name: string, p: dynamic)["t", dynamic({"type": "Polygon", "coordinates":
[[[0, 0], [2, 0], [2, 2], [0, 0]]]})]; datatable(x: real, y: real)[1.0, 0.5, 5.0, 5.0]"""
STEPPED = "range x from 1 to 9 step 1"
NESTED = """datatable(s: string, t: string, v: long)["K", "a", 5, "K", "b", 3, "K", "c", 1, "T", "a", 4, "T", "d", 1,
"M", "x", 2, "N", "y", 1]"""
OTHERS: list[tuple[str, list[list[Any]]]] = [
    (f"{NETS} {HOSTS} | evaluate ipv4_lookup(N, ip, net)", [["10.1.2.3", 1, "10.1.0.0/16", "a"]]),
    (f"{NETS} {HOSTS} | evaluate ipv4_lookup(N, ip, net, return_unmatched = true) | sort by n asc",
     [["10.1.2.3", 1, "10.1.0.0/16", "a"], ["192.168.1.1", 2, "", ""]]),
    (f"{SHAPES} | evaluate geo_polygon_lookup(S, p, x, y)", [[1, 0.5, "t"]]),
    (f"{SHAPES} | evaluate geo_polygon_lookup(S, x, y, p) | project x, s = tostring(p.type)", [[1, "Polygon"]]),
    (f"{SHAPES} | evaluate geo_polygon_lookup(S, p, x, y, return_unmatched = true) | project x, name | sort by x asc",
     [[1, "t"], [5, ""]]),
    (f"{SHAPES} | evaluate geo_polygon_lookup(S, p, x, y, radius = 1000000) | count", [[2]]),
    (f"{STEPPED} | evaluate rows_near(x == 5, 1)", [[4], [5], [6]]),
    (f"{STEPPED} | evaluate rows_near(x in (1, 8), 1, 2)", [[1], [2], [3], [7], [8], [9]]),
    (f"{STEPPED} | evaluate rows_near(x > 9, 1)", []),
    (f"{STEPPED} | evaluate rows_near(x == 5, 500000) | count", [[9]]),
    # Of equals that which began last.
    ('datatable(g: string, v: long)["a", 1, "a", 2, "b", 3, "c", 4] | top-hitters 2 of g by v', [["c", 4], ["b", 3]]),
    ('datatable(g: string)["a", "b", "c", "d"] | top-hitters 2 of g', [["d", 1], ["c", 1]]),
    ('print d = dynamic({"b": [3, {"z": 1, "a": null}], "a": {}}) | project dynamic_to_json(d)',
     [['{"a":{},"b":[3,{"a":null,"z":1}]}']]),
    ('print d = dynamic(null), e = dynamic("x"), f = dynamic([]) | project dynamic_to_json(d), dynamic_to_json(e), '
     "dynamic_to_json(f)", [["", '"x"', "[]"]]),
    ("let F = () { print A = 1, B = 2 }; print column_names_of(F())", [[["A", "B"]]]),
    ("print convert_length(1.2, 'Meter', 'Foot'), convert_mass(1.0, 'Nothing', 'Gram')", [[3.9370078740157477, None]]),
    ("print convert_force(1.2, 'Newton', 'Decanewton'), convert_angle(0.5, 'Revolution', 'Degree')", [[0.12, 180]]),
    ("print round(convert_speed(1.2, 'MeterPerSecond', 'CentimeterPerHour'), 6)", [[432000]]),
    # A constant has all its digits, though what is stored has six.
    ("print format_datetime(datetime(2020-06-15 13:45:09.1234567), 'fffffff')", [["1234567"]]),
    ("print format_datetime(datetime(2020-06-15 13:45:09.12), 'ss.FFFFFFF')", [["09.12"]]),
    ("print tostring(datetime(0001-01-01 00:00:00.0000007))", [["0001-01-01T00:00:00.0000007Z"]]),
    # Without elements there is nothing to find.
    ("print a = dynamic([]) | extend (f, s, b) = series_decompose_anomalies(a)", [[[], [], [], []]]),
    ("print a = dynamic([2, 2.0]) | project series_decompose_anomalies(a, 1.5, -1, 'linefit')",
     [[[0, 0], [0, 0], [2, 2]]]),
    ("print series_outliers(dynamic(null))", [[None]]),
    # The trend of a forecast is a line where none is told.
    ("print a = dynamic([1, 2, 3, 4, 0, 0]) | project series_decompose_forecast(a, 2)", [[[1, 2, 3, 4, 5, 6]]]),
    ("datatable(x: int)[5, int(null), -3] | project y = -x | extend t = gettype(y)",
     [[-5, "int"], [None, "int"], [3, "int"]]),
    ("print x = -int(5), y = -5 | getschema | project ColumnType", [["int"], ["long"]]),
    ('datatable(g: string, v: long)["a", 1, "b", 5, "a", 3] '
     "| partition by g (as T | sort by v asc | extend p = prev(v)) | sort by v asc",
     [["a", 1, None], ["a", 3, 1], ["b", 5, None]]),
    (f"{NESTED} | top-nested 2 of s with others = 'other' by sum(v), top-nested 1 of t by sum(v)",
     [["K", 9, "a", 5], ["T", 5, "a", 4], ["other", 3, "", None]]),
    (f"{NESTED} | top-nested 2 of s with others = 'other' by sum(v), top-nested 1 of t with others = 'rest' by "
     "x = sum(v) | sort by s asc, t asc",
     [["K", 9, "a", 5], ["K", 9, "rest", 4], ["T", 5, "a", 4], ["T", 5, "rest", 1], ["other", 3, "rest", 3]]),
    (f"{NESTED} | top-nested 1 of s by sum(v), top-nested 1 of t with others = 'rest' by sum(v), top-nested 1 of v "
     "with others = -1 by n = count() | sort by v asc", [["K", 9, "rest", 4, -1, 2], ["K", 9, "a", 5, 5, 1]]),
    # Of nothing there are no others, nor where all are chosen.
    (f"{NESTED} | where v > 9 | top-nested 2 of s with others = 'other' by sum(v)", []),
    (f"{NESTED} | where v > 4 | top-nested 2 of s with others = 'other' by sum(v)", [["K", 5]]),
    ('datatable(k: string, v: long)["a", 1, "b", long(null)] | top-nested 1 of k by max(v) desc nulls first',
     [["b", None]]),
    ("print bag_remove_keys(dynamic({'a': {'b': {'c': 1, 'd': 2}}, 'x y': {'z': 1}, 'k': 0}), "
     'dynamic(["$.a.b.c", "$[\'x y\'].z", "$.q.r", "$.k", "$.a.b.d.e"]))', [[{"a": {"b": {"d": 2}}, "x y": {}}]]),
    ('datatable(d: dynamic)[dynamic({"a": {"b": null}}), dynamic({"a": 5}), dynamic([1]), dynamic(null)] '
     "| project bag_has_key(d, '$.a.b'), bag_has_key(d, '$.a'), bag_has_key(d, 'b')",
     [[True, True, False], [False, True, False], [False, False, False], [False, False, False]]),
    ("print extract_all(@'(?P<first>\\w)(\\w+)(?<last>\\w)', dynamic(['first', 2, 'last']), 'abcd efgh')",
     [[[["a", "bc", "d"], ["e", "fg", "h"]]]]),
    ("print todatetime('1/5/24'), todatetime('12/31/99 10:00'), todatetime('1/5/124'), todatetime('24-01-05')",
     [["2024-01-05T00:00:00Z", "1999-12-31T10:00:00Z", None, None]]),
    ("print todatetime('2014-11-08T15:05:02+0200'), todatetime('2014-11-08 15:05 -01:30')",
     [["2014-11-08T13:05:02Z", "2014-11-08T16:35:00Z"]]),
    ("print geo_info_from_ip_address('')", [[None]]),
    ("print x = 1 | where x > 1 | evaluate basket()", []),
]  # fmt: skip
LINE = 'dynamic({"type": "LineString", "coordinates": %s})'
POLYGON = 'dynamic({"type": "Polygon", "coordinates": [%s]})'
UP, DOWN, FAR = LINE % "[[0, 0], [2, 2]]", LINE % "[[0, 2], [2, 0]]", LINE % "[[3, 3], [4, 4]]"
SQUARE = POLYGON % "[[0, 0], [9, 0], [9, 9], [0, 9], [0, 0]]"
PLACES: list[tuple[str, list[list[Any]]]] = [
    ("print geo_point_to_s2cell(-80.195829, 25.802215, 8), geo_point_to_s2cell(1.0, 1.0, int(null))", [["88d9b", ""]]),
    ("print geo_point_to_s2cell(-181.0, 1.0), geo_point_to_s2cell(1.0, 1.0, 31), geo_point_to_s2cell(0.0, 0.0, 0)",
     [["", "", "1"]]),
    ("print geo_s2cell_to_central_point('89c259').coordinates",
     [[[pytest.approx(-73.983002934), pytest.approx(40.755097559)]]]),
    ("print geo_s2cell_to_central_point('x'), geo_s2cell_to_central_point(''), geo_s2cell_to_polygon('f1')",
     [[None] * 3]),
    # The centre of a cell is in the cell, on each face and at each level.
    ('datatable(x: real, y: real)[1.5, 2.5, -170.0, -80.0, 100.0, 85.0, -100.0, 3.0, 45.0, -45.0, 179.0, 10.0] '
     "| mv-expand level = range(0, 30) to typeof(long) | extend s = geo_point_to_s2cell(x, y, level) "
     "| extend c = geo_s2cell_to_central_point(s).coordinates "
     "| extend again = geo_point_to_s2cell(todouble(c[0]), todouble(c[1]), level) "
     "| extend polygon = geo_s2cell_to_polygon(s) | summarize countif(s == again), countif(level < 3 or "
     "geo_point_in_polygon(todouble(c[0]), todouble(c[1]), polygon)), count()", [[186, 186, 186]]),
    (f"print geo_intersects_2lines({UP}, {DOWN}), geo_intersects_2lines({UP}, {FAR})", [[True, False]]),
    (f"print geo_intersects_2lines({UP}, dynamic(1))", [[None]]),
    (f"print geo_intersection_2lines({UP}, {DOWN}).coordinates", [[[pytest.approx(1), pytest.approx(1.0004571)]]]),
    (f"print geo_intersection_2lines({UP}, {FAR})", [[{"type": "GeometryCollection", "geometries": []}]]),
    (f"print geo_intersects_line_with_polygon({LINE % '[[3, 3], [4, 5]]'}, {SQUARE}), "
     f"geo_intersects_line_with_polygon({LINE % '[[-1, 3], [15, 5]]'}, {SQUARE}), "
     f"geo_intersects_line_with_polygon({LINE % '[[-1, 3], [-2, 5]]'}, {SQUARE})", [[True, True, False]]),
]  # fmt: skip
MIDDLES: list[tuple[str, list[list[Any]]]] = [
    (f"print isnull(geo_polygon_centroid({POLYGON % '[[0, 0], [9, 9], [9, 9], [0, 0]]'}))", [[True]]),
    # A polygon of a quarter of a half of the earth: the same on all three axes.
    (f"print geo_polygon_centroid({POLYGON % '[[0, 0], [90, 0], [0, 90], [0, 0]]'}).coordinates",
     [[[pytest.approx(45), pytest.approx(35.26438968)]]]),
    (f"print geo_polygon_centroid({POLYGON % '[[0, 0], [0, 90], [90, 0], [0, 0]]'}).coordinates",
     [[[pytest.approx(45), pytest.approx(35.26438968)]]]),
    (f"print geo_polygon_perimeter({POLYGON % '[[0, 0], [90, 0], [0, 90], [0, 0]]'})",
     [[pytest.approx(6371010 * 1.5 * 3.14159265359)]]),
]  # fmt: skip
WORKED_ON = [
    (f"print geo_intersects_2lines({UP}, {LINE % '[[0, 0], [2, 0]]'})", "touch"),
    ("print a = '1.1.1.1' | extend geo_info_from_ip_address(a)", "where addresses are"),
    ("print x = 1 | evaluate autocluster() | count", r"autocluster\(\) is not supported"),
    ("print a = dynamic([[[[[[1]]]]]]) | extend dynamic_to_json(a)", "nested deeper"),
]
REFUSED = [
    (f"{GRAPH} | graph-mark-components kind=loose | graph-to-table nodes", "weak or strong"),
    (f"{GRAPH} | graph-mark-components with_component_id=age | graph-to-table nodes", "'age' already"),
    ("print x = 1 | graph-mark-components", "works on a graph"),
    (f"{GRAPH} | graph-match cycles=none (a)-[e*0..2]->(b) project a.name", "may have no edge"),
    (
        f"{PEOPLE}{EDGES} E | make-graph s --> t with_node_id=n partitioned-by w (graph-to-table nodes)",
        "tables of nodes",
    ),
    (f"{PEOPLE}{EDGES} E | make-graph s --> t with P on name partitioned-by w (graph-to-table nodes)", "'w'"),
    (
        "let N = datatable(id: long, p: string)[]; datatable(s: long, t: long, p: string)[] | make-graph s --> t with "
        "N on id partitioned-by p (graph-mark-components)",
        "within partitioned-by",
    ),
    ("print convert_mass(1.0, 'EarthMass', 'Gram')", "EarthMass"),
    (f"{STEPPED} | evaluate rows_near(x == 5, -1)", "rows_near"),
    (f"{STEPPED} | evaluate rows_near(x == 5, 500001)", "at most 500,000 rows"),
    (f"{STEPPED} | evaluate ipv4_lookup(5, x, x)", "is no table"),
    (f"{NETS} {HOSTS} | evaluate ipv4_lookup(N, ip, net, nothing = true)", "no argument 'nothing'"),
    (f"{NETS} {HOSTS} | evaluate ipv4_lookup(N, net, ip)", "addresses"),
    (f"{SHAPES} | evaluate geo_line_lookup(S, p, x, y)", "needs a radius"),
    ("print column_names_of(1)", "one table"),
    (f"{GRAPH}", "a graph is no answer"),
    (f"{GRAPH} | count", "does not work on a graph"),
    ("print x = 1 | graph-match (a)-->(b) project a.x", "works on a graph"),
    (f"{GRAPH} | graph-match (a)-[e]->(b) project map(e, w)", "several lengths"),
    (f"{GRAPH} | graph-match (a)-[e*1..99]->(b) project a.name", "at most"),
    (f"{GRAPH} | graph-match (a)-[e]->(b) project b.nothing", "nothing"),
    ("print x = 1 | scan declare (x: long) with (step s: true;)", "two columns 'x'"),
    ("print x = 1 | scan with (step s: true; step s: true;)", "two steps 's'"),
    ("print x = 1 | scan with (step s: true => y = 2;)", "no column here"),
    ("print x = 1 | scan declare (c: long) with (step s: true => c = 1, c = 2;)", "assigned twice"),
    ("print x = 1 | scan with (step s optional: true;)", "optional"),
    ("print x = 1 | scan with (step s: q.x > 1;)", "'q'"),
    ("print series_outliers(dynamic([1]), 'other')", "ctukey, tukey"),
    ("print series_outliers(dynamic([1]), 'ctukey', 0, 5, 95)", "percentiles other than 10 and 90"),
    ("print series_decompose(dynamic([1]), -1, 'other')", "avg, linefit, none"),
    ("print series_periods_detect(dynamic([1]), 4.0, 9.0, 0)", "1 to 1,000"),
]
UNKNOWN = [
    ("print x = 1 | where x > 1 | evaluate basket()", 38),
    ("print x = 1 | evaluate autocluster() | count", 24),
    ("print x = 'a' | evaluate diffpatterns(x, 'a', 'b')", 26),
    ("print x = 'a' | reduce by x with threshold=0.5", 17),
]


def rows(query: str) -> list[list[Any]]:
    return _HARNESS.run(query)[1]


@pytest.mark.parametrize(("query", "wanted"), SCANS)
def test_scan(query: str, wanted: list[list[Any]]) -> None:
    """A row comes out for each step that it matches; steps remember."""
    assert rows(query) == wanted


@pytest.mark.parametrize(("query", "wanted"), GRAPHS)
def test_graphs(query: str, wanted: list[list[Any]]) -> None:
    """A pattern is found wherever nodes and edges fit it."""
    assert sorted(rows(query), key=str) == wanted


@pytest.mark.parametrize("seed", range(5))
def test_components_are_what_can_be_reached(seed: int) -> None:
    """Weak ones whichever way edges go, strong ones there and back; the numbers have no gaps."""
    chance = Random(seed)
    edges = [(chance.randrange(30), chance.randrange(30)) for _ in range(32)]
    listed = ", ".join(f"{one}, {other}" for one, other in edges)
    graph = f"datatable(a: long, b: long)[{listed}] | make-graph a --> b with_node_id=n | graph-mark-components"
    keys = sorted({key for edge in edges for key in edge})
    for kind, ways in (("weak", [*edges, *((b, a) for a, b in edges)]), ("strong", edges)):
        reached = {key: {key} for key in keys}
        for _ in keys:
            for one, other in ways:
                for found in reached.values():
                    if one in found:
                        found.add(other)
        numbers = dict(rows(f"{graph} kind={kind} | graph-to-table nodes"))
        assert sorted(numbers) == keys
        assert set(numbers.values()) == set(range(len(set(numbers.values()))))
        for one in keys:
            for other in keys:
                assert (numbers[one] == numbers[other]) == (other in reached[one] and one in reached[other])


@pytest.mark.parametrize(("query", "wanted"), OTHERS + LITTLE)
def test_answers(query: str, wanted: list[list[Any]]) -> None:
    """Plugins and functions give what Kusto's do."""
    assert rows(query) == wanted


@pytest.mark.parametrize(("query", "wanted"), PLACES + MIDDLES)
def test_places(query: str, wanted: list[list[Any]]) -> None:
    """Cells are those of S2; lines and polygons meet where their edges cross or one holds the other."""
    assert rows(query) == wanted


@pytest.mark.parametrize(("query", "reason"), WORKED_ON)
def test_what_data_shows(query: str, reason: str) -> None:
    """What only the data can show to be unsupported is an error, never a value that nearly fits."""
    with pytest.raises(duckdb.Error, match=reason):
        rows(query)


@pytest.mark.parametrize(("query", "column"), UNKNOWN)
def test_what_is_known_for_columns_only(query: str, column: int) -> None:
    """What cannot be worked out is refused with its place before any row is read."""
    with pytest.raises(KqlError, match=r" is not supported: ") as caught:
        translate(query, of_columns({}), storage=_HARNESS, now=datetime.now(UTC))
    assert (caught.value.phase, caught.value.column) == ("plan", column)


@pytest.mark.parametrize(("query", "reason"), REFUSED)
def test_what_is_refused(query: str, reason: str) -> None:
    """What cannot be right is an error with its place."""
    with pytest.raises(KqlError, match=reason) as caught:
        rows(query)
    assert caught.value.phase in ("bind", "plan")
