"""Firewalls whose logs say in own words what CEF has keys for: their fields under CEF's keys, which are read once.

Source: ArcSight CEF, extension dictionary; `common_security_log`.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, ClassVar

from bartizan.extend import Event, GraphObject, Record
from bartizan.model.alert import Alert
from bartizan.sources import cef, common_security_log, leef, pairs, syslog
from bartizan.sources.evidence import Evidence
from bartizan.sources.fields import Fields, as_text, lines_of, objects_of
from bartizan.sources.keys import one_word
from bartizan.sources.shape import Shape
from bartizan.sources.times import first_time

_NOT_SAID = frozenset({"n/a", "none", "unknown", "undefined", "0.0.0.0", "::"})  # noqa: S104 - compared
_CAME_FROM = re.compile(r"\(([0-9A-Fa-f:.]{2,45})\)$")


class Firewall(Shape):
    """Names `keys`, own field -> CEF's key, and what tells an alert; rows go to CommonSecurityLog."""

    keys: ClassVar[Mapping[str, str]] = {}
    prefix: ClassVar[str] = ""  # of own fields inside CEF: "FTNTFGT"
    times: ClassVar[str] = "rt start end"

    def lines(self, text: str) -> Iterable[dict[str, Any]]:
        """Own fields of a line that is no CEF; none where it is not this format. Of LEEF under CEF's keys too."""
        event = leef.read(text)
        if event is not None:
            return [event.named()]
        line = syslog.read(text)
        found = pairs.read(line.message if "=" in line.message else text)
        if line.host is not None and len(found) > 1 and "=" not in line.host:
            found.setdefault("syslogHost", line.host)
        return [found] if len(found) > 1 else []

    def read(self, record: Record) -> Iterable[Fields]:
        events = cef.records(record)
        if events:
            return [self.named({**event.fields.data, "syslogHost": event.syslog.host}) for event in events]
        texts = lines_of(record)
        if not texts or (record.data is None and "{" in texts[0] and not self.lines(texts[0])):
            return [self.named(found.data) for found in objects_of(record, *self.wrappers)]
        return [self.named(found) for text in texts for found in self.lines(text)]

    def named(self, data: Mapping[str, Any]) -> Fields:
        """Own fields bare of their prefix, and under CEF's keys where those have no value of their own."""
        given = {name: value for name, value in data.items() if says(value)}
        own = {
            name.removeprefix(self.prefix): value
            for name, value in given.items()
            if self.prefix and name.startswith(self.prefix)
        }
        whole = {**own, **given}
        spelt = {one_word(name.lower()): name for name in reversed(whole)}
        for name, key in self.keys.items():
            said = name if name in whole else spelt.get(one_word(name.lower()))
            if said is not None and key not in whole:
                whole[key] = whole[said]
        whole.setdefault("deviceVendor", self.vendor)
        whole.setdefault("deviceProduct", self.product)
        return Fields(whole)

    def entities(self, fields: Fields, evidence: Evidence) -> None:
        common_security_log.entities(fields, evidence)

    def finish(self, fields: Fields, alert: Alert) -> None:
        common_security_log.acted(alert, fields.text("act", "action"))

    def event(self, fields: Fields) -> Iterator[Event | GraphObject]:
        evidence = Evidence()
        self.entities(fields, evidence)
        if not fields.has("dvchost"):
            evidence.host(fields.text("syslogHost"))
        yield common_security_log.row(fields, first_time(fields, *self.times.split()), evidence)


def came_from(ui: str | None) -> str | None:
    """The address of "GUI(192.0.2.5)", in which Fortinet says how and from where an administrator came."""
    found = _CAME_FROM.search(ui or "")
    return found[1] if found is not None else None


def says(value: Any) -> bool:
    """False of what stands where a vendor has nothing to say."""
    return not isinstance(value, str) or (as_text(value) or "none").lower() not in _NOT_SAID
