"""Where the parser stands in the tokens of a query, and what it has found wrong so far."""

from collections.abc import Callable, Collection
from typing import NoReturn, TypeVar

from bartizan.hunt.fault import KqlError
from bartizan.hunt.lexer import END, NAME, NAMING, PLAIN, STRING, Token

# Python's own stack holds about 1,000 calls; a level takes seven of them. Public hunting queries have 16 at most.
MAX_NESTING = 90
# The height of the tree: whoever walks it may recurse. Chains of `and` and `or` are balanced. Public hunting queries
# have 20 at most.
MAX_HEIGHT = 150
MAX_FAULTS = 20  # that one query reports

# What ends any list.
CLOSERS = frozenset([")", "]", "}", "|", ";", END])

T = TypeVar("T")


class Cursor:
    """Looks one token ahead, three at most where names and calls are told apart. `kind` is the next token's."""

    def __init__(self, text: str, tokens: list[Token]) -> None:
        self.text = text
        self.tokens = tokens
        self.index = 0
        self.token = tokens[0]
        self.kind = tokens[0].kind
        self.last = tokens[-1]
        self.previous_end = 0
        self.nesting = 0
        self.height = 0  # of the expression that was read last
        self.tallest = 0  # of the expressions read since the innermost pipe began
        self.after_dot: dict[int, int] = {}  # where what is before a dot ends -> where the name behind it begins
        self.found: list[KqlError] = []

    # ------------------------------------------------------------------ moving

    def step(self) -> Token:
        """Takes the next token. END stays."""
        token = self.token
        self.previous_end = token.end
        if token.kind != END:
            self.index += 1
            self.token = self.tokens[self.index]
            self.kind = self.token.kind
        return token

    def peek(self, ahead: int) -> Token:
        index = self.index + ahead
        return self.tokens[index] if index < len(self.tokens) else self.last

    def accept(self, kind: str) -> bool:
        if self.kind == kind:
            self.step()
            return True
        return False

    def expect(self, kind: str, where: str = "") -> Token:
        if self.kind != kind:
            self.fail(f"expected '{kind}'{where and ' ' + where}, found {self.sight()}")
        return self.step()

    # ------------------------------------------------------------------ faults

    def sight(self) -> str:
        """The next token as messages name it."""
        if self.kind == END:
            return "the end of the query"
        text = self.token.text
        return f"'{text}'" if len(text) <= 40 else f"'{text[:37]}...'"

    def fail(self, message: str, at: int = -1) -> NoReturn:
        raise KqlError("parse", message, self.token.at if at < 0 else at)

    def wrong(self, message: str, at: int) -> None:
        """Notes that the text, well formed as it is, cannot mean anything; reading goes on."""
        if len(self.found) < MAX_FAULTS:
            self.found.append(KqlError("bind", message, at))

    def unsupported(self, what: str, at: int = -1) -> NoReturn:
        raise KqlError("plan", f"{what} is not supported", self.token.at if at < 0 else at)

    def enter(self) -> None:
        """One level deeper; who enters leaves, unless a fault unwinds (see `recover`)."""
        self.nesting += 1
        if self.nesting > MAX_NESTING:
            self.fail(f"nested deeper than {MAX_NESTING} levels")

    def rise(self, height: int) -> None:
        """The expression that was read last stands so many levels high."""
        if height > MAX_HEIGHT:
            self.fail(f"an expression of over {MAX_HEIGHT} levels: divide it by 'let' or 'extend'")
        self.height = height

    def recover(self, fault: KqlError, start: int, nesting: int) -> None:
        """Notes a fault and skips to the next `|` or `;` of the level of brackets of token `start`, or its end."""
        self.found.append(fault)
        self.nesting = nesting
        if len(self.found) >= MAX_FAULTS:
            self._move(len(self.tokens) - 1)
            return
        levels = self._levels()
        base = levels[start]
        index = self.index
        while index < len(self.tokens) - 1:
            kind = self.tokens[index].kind
            if levels[index] < base or (levels[index] == base and kind in ("|", ";")):
                break
            index += 1
        self._move(index)

    def _move(self, index: int) -> None:
        self.index = index
        self.token = self.tokens[index]
        self.kind = self.token.kind

    def _levels(self) -> list[int]:
        """How many brackets are open at each token, those of the token itself not counted."""
        levels: list[int] = []
        level = 0
        for token in self.tokens:
            if token.kind in (")", "]", "}"):
                level -= 1
            levels.append(level)
            if token.kind in ("(", "[", "{"):
                level += 1
        return levels

    # ------------------------------------------------------------------ lists and names

    def items(
        self,
        read: Callable[[], T],
        least: int = 0,
        stops: Collection[str] = CLOSERS,
        trailing: bool = False,
        what: str = "an expression",
    ) -> list[T]:
        """`a, b, c` up to one of `stops`; a comma at the end where Kusto takes it."""
        found: list[T] = []
        if self.kind in stops:
            if least:
                self.fail(f"expected {what}, found {self.sight()}")
            return found
        while True:
            found.append(read())
            if self.kind != ",":
                return found
            self.step()
            if self.kind in stops:
                if not trailing:
                    self.fail(f"expected {what} after ',', found {self.sight()}")
                return found

    def name_length(self, ahead: int = 0, naming: bool = False) -> int:
        """How many tokens the name takes that begins here; 0 where none does. `naming`: where only a name can be."""
        kind = self.kind if not ahead else self.peek(ahead).kind
        if kind == NAME or kind in (NAMING if naming else PLAIN):
            return 1
        if kind != "[":
            return 0
        length = 1
        while self.peek(ahead + length).kind == STRING:
            length += 1
        return length + 1 if length > 1 and self.peek(ahead + length).kind == "]" else 0

    def take_name(self, naming: bool = False, what: str = "a name") -> str:
        """The name that begins here, without brackets and quotes."""
        length = self.name_length(0, naming)
        if length == 1:
            return self.step().text
        if not length:
            hint = f"; as a name it is written ['{self.token.text}']" if self.kind[:1].isalpha() else ""
            hint = "" if self.kind in (END, STRING) or self.kind.isupper() else hint
            self.fail(f"expected {what}, found {self.sight()}{hint}")
        start = self.step()
        name = self.take_string()
        self.expect("]")
        if not name:
            self.fail("a name is empty", start.at)
        return name

    def take_string(self) -> str:
        """One string or several in a row, which are one."""
        raise NotImplementedError

    def adjacent(self, text: str) -> bool:
        """Takes the tokens that together are exactly `text`, nothing between them."""
        start = self.token.at
        if not self.text.startswith(text, start):
            return False
        stop, ahead = start + len(text), 0
        while self.peek(ahead).end < stop:
            ahead += 1
        if self.peek(ahead).end != stop:
            return False
        for _ in range(ahead + 1):
            self.step()
        return True
