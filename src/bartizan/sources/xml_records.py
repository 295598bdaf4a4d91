"""XML as the dict that it would be in JSON: elements and attributes by local name, what comes again as a list.

`<Data Name="Image">x</Data>`, Windows' way to name a value, is read as `<Image>x</Image>`.
Source: XML 1.0; Windows Event Log, "Event schema"; expat, as Python has it.
"""

import re
from typing import Any
from xml.parsers import expat

from bartizan.sources.fields import whole
from bartizan.sources.pairs import put

MAX_CHARS = 1_048_576
MAX_DEPTH = 32  # what lies deeper is left out
MAX_ELEMENTS = 20_000

_BEGIN = re.compile(r"<(?=[?!A-Za-z_])")
_DECLARATION = re.compile(r"<\?xml[^>]{0,256}\?>")
_NAMED = frozenset({"Data", "ComplexData"})
_TEXT = "#text"  # of an element that has attributes or children as well
_ROOT = "records"


class _Stop(Exception):
    """Enough was read."""


def read(text: str) -> dict[str, Any]:
    """The elements at the top by name; {} where there is no XML. What stands before the first element is passed over.

    A text that breaks off gives what came before. It is read as the inside of an element, where a document type is an
    error, so that no entity can be declared.
    """
    begin = _BEGIN.search(text)
    if begin is None:
        return {}
    body = _DECLARATION.sub("", whole(text[begin.start() : begin.start() + MAX_CHARS]))
    reader = _Reader()
    parser = expat.ParserCreate("utf-8")
    parser.buffer_text = True
    parser.StartElementHandler = reader.start
    parser.EndElementHandler = reader.end
    parser.CharacterDataHandler = reader.say
    try:
        for part in (f"<{_ROOT}>", body, f"</{_ROOT}>"):
            parser.Parse(part, False)
    except (expat.ExpatError, _Stop):
        pass  # what was read is worth more than nothing; the raw record has it all
    reader.close()
    return reader.found


class _Reader:
    def __init__(self) -> None:
        self.found: dict[str, Any] = {}
        self._open: list[tuple[str, dict[str, Any], list[str]]] = []  # name, what is inside, text
        self._elements = 0
        self._deep = 0

    def start(self, name: str, attributes: dict[str, str]) -> None:
        self._elements += 1
        if self._elements > MAX_ELEMENTS:
            raise _Stop
        if len(self._open) >= MAX_DEPTH:
            self._deep += 1
            return
        inside = {_local(key): value for key, value in attributes.items() if not key.startswith("xmlns")}
        self._open.append((_local(name), inside, []))

    def end(self, _name: str) -> None:
        if self._deep:
            self._deep -= 1
        else:
            self._shut()

    def say(self, text: str) -> None:
        if not self._deep and self._open:
            self._open[-1][2].append(text)

    def close(self) -> None:
        """The elements that were still open, as far as they came."""
        while self._open:
            self._shut()

    def _shut(self) -> None:
        name, inside, texts = self._open.pop()
        if not self._open:
            self.found = inside
            return
        text = "".join(texts).strip()
        parent = self._open[-1][1]
        if name in _NAMED and len(inside) == 1 and "Name" in inside:
            put(parent, inside["Name"], text)
        elif not inside:
            put(parent, name, text)
        else:
            if text:
                inside[_TEXT] = text
            put(parent, name, inside)


def _local(name: str) -> str:
    return name.rpartition(":")[2]
