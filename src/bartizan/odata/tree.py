"""The tree that OData text becomes, once: nodes, and what each of them means on every engine.

Parser and binder make it; the SQL compilers of `store` and the evaluator of `odata` read it, and all of them
must select the same objects. So the meaning is fixed here:

- A comparison is true or false, never null: `eq`/`ne` treat null as a value; `lt le gt ge` with a null are false.
- A function that is given null returns null. `not` of null is null, `and`/`or` are three-valued, and an
  object is selected only if the whole is true.
- `any` over a missing or empty collection is false, `all` is true.
- Strings compare by code point; where `Path.fold` is set the property ignores case and both sides are folded
  to lower case first. `tolower`/`toupper` are Unicode's.
- Instants are text of one width (`2026-11-23T04:50:30.1234567Z`, UTC, `model.times`), in documents and in literals,
  so that text order is time order.
- Enum members are compared by name; the binder has given the literal the spelling of the schema, and has made an `in`
  of what asks for an order of members.
- A value whose JSON type is not the kind of its `Path` counts as null. A path without a kind takes that of the constant
  that it is compared with.
- Numbers compare exactly. Arithmetic is that of doubles; it gives null for a division by zero and for operands that
  are not zero and not within 1e-150 to 1e150 (so that no engine overflows). `mod` is decimal, with the dividend's sign.
- Durations are whole numbers of 100 ns; an instant less an instant is one, an instant plus one is an instant, null
  outside the years 1 to 9999. `round` takes a half away from zero.
- String functions count code points; `substring` takes a negative start or length as 0; `trim` removes ASCII spaces.

Source: OData 4.01 Part 2 (URL Conventions), section 5.1.1.
"""

from typing import Literal as Lit
from typing import TypeAlias

from msgspec import Struct

Kind: TypeAlias = Lit["text", "int", "real", "bool", "instant", "date", "time", "duration", "guid", "enum", "null"]
CompareOp: TypeAlias = Lit["eq", "ne", "lt", "le", "gt", "ge", "has"]
ArithmeticOp: TypeAlias = Lit["add", "sub", "mul", "div", "divby", "mod"]


class Literal(Struct, frozen=True, tag=True):
    """A constant. `value` is str for text, instants, dates, times, guids, enum members; int (ticks) for durations."""

    value: str | int | float | bool | None
    kind: Kind


class Path(Struct, frozen=True, tag=True):
    """A property: `names` from the object (or from the lambda's `variable`) down, spelt as in the schema once bound.

    `("vendorInformation", "provider")`, or `()` with a variable for the element of a collection of scalars.
    `edm`, `collection`, `kind` and `fold` are filled in by the binder. `edm` None: the schema does not say the
    type for sure (open types, properties that differ among derived types); `kind` is then what it is compared with.
    """

    names: tuple[str, ...]
    variable: str | None = None
    edm: str | None = None
    kind: Kind | None = None
    collection: bool = False
    fold: bool = False


class Size(Struct, frozen=True, tag=True):
    """`path/$count`: how many elements a collection has; 0 where it is missing."""

    path: Path


class Call(Struct, frozen=True, tag=True):
    """A function of scalars (contains, tolower, year, now, ...) by its name in lower case."""

    name: str
    args: tuple["Expr", ...]


class Arithmetic(Struct, frozen=True, tag=True):
    op: ArithmeticOp
    left: "Expr"
    right: "Expr"


class Negative(Struct, frozen=True, tag=True):
    operand: "Expr"


class Compare(Struct, frozen=True, tag=True):
    op: CompareOp
    left: "Expr"
    right: "Expr"


class In(Struct, frozen=True, tag=True):
    """`left in (a, b)`; an empty list selects nothing."""

    left: "Expr"
    values: tuple[Literal, ...]


class Not(Struct, frozen=True, tag=True):
    operand: "Expr"


class And(Struct, frozen=True, tag=True):
    operands: tuple["Expr", ...]


class Or(Struct, frozen=True, tag=True):
    operands: tuple["Expr", ...]


class Any(Struct, frozen=True, tag=True):
    """`path/any(variable: body)`; without body: the collection is not empty."""

    path: Path
    variable: str | None = None
    body: "Expr | None" = None


class All(Struct, frozen=True, tag=True):
    path: Path
    variable: str
    body: "Expr"


class Search(Struct, frozen=True, tag=True):
    """One term of `$search`: `prefix` (in lower case) stands in the property where a word begins.

    That is where no letter or digit precedes it, where the case rises (contosoAdmin), and where letters and digits
    meet (admin1). It is true or false, never null.
    """

    path: Path
    prefix: str


Expr: TypeAlias = (
    Literal | Path | Size | Call | Arithmetic | Negative | Compare | In | Not | And | Or | Any | All | Search
)


class Order(Struct, frozen=True):
    """One key of `$orderby`. Nulls come first when ascending, last when descending, on every engine."""

    path: Path
    descending: bool = False
