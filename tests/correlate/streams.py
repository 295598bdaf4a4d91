"""Streams of alerts, made for the cases: a quiet network with its noise, and attacks in it."""

import random
from collections.abc import Iterable

from bartizan.correlate.engine import Engine
from bartizan.correlate.incident import Facts, Incident, Link, Node, Placed

START = 1_700_000_000.0 - 1_700_000_000.0 % 3_600
HOUR = 3_600.0


class Told:
    """What an engine said of a stream."""

    def __init__(self, engine: Engine, alerts: Iterable[Facts]) -> None:
        self.engine = engine
        self.incidents: dict[str, Incident] = {}
        self.links: dict[str, Link] = {}
        for alert in alerts:
            for step in engine.take(alert):
                if isinstance(step, Placed):
                    self.incidents[step.key] = step.incident
                    if step.link is not None:
                        self.links[step.key] = step.link

    def of(self, key: str) -> str | None:
        """The open incident that an alert is in now, by its key."""
        incident = self.incidents.get(key)
        return None if incident is None or incident.root().state != "open" else incident.root().key

    def together(self, *keys: str) -> bool:
        found = {self.of(key) for key in keys}
        return len(found) == 1 and None not in found


def alert(key: str, hours: float, detector: str, *nodes: Node, severity: str = "unknown") -> Facts:
    return Facts(key, START + hours * HOUR, detector, nodes, title=detector, severity=severity)


def host(name: str) -> Node:
    return ("host", name)


def noise(hours: int, hosts: int, seed: int = 1) -> list[Facts]:
    """A heartbeat of every host each hour, a chatty detector in most hours, odd ones now and then."""
    rng = random.Random(seed)
    made = []
    for hour in range(hours):
        for number in range(hosts):
            made.append(alert(f"beat-{hour}-{number}", hour + 0.01 * number, "heartbeat", host(f"h{number}")))
        if rng.random() < 0.7:
            made.append(alert(f"chat-{hour}", hour + rng.random(), "chatty", host(f"h{rng.randrange(hosts)}")))
        if rng.random() < 0.3:
            odd = f"odd-{rng.randrange(4)}"
            made.append(alert(f"{odd}-{hour}", hour + rng.random(), odd, host(f"h{rng.randrange(hosts)}")))
    return sorted(made, key=lambda each: each.at)


def attack(name: str, hours: float, target: str, steps: int = 6) -> list[Facts]:
    """Never-seen detectors, a minute or two apart, on one host."""
    return [alert(f"{name}-{step}", hours + step / 40, f"{name} step {step}", host(target)) for step in range(steps)]


def tell(*streams: Iterable[Facts], engine: Engine | None = None) -> Told:
    return Told(engine or Engine(), sorted((each for stream in streams for each in stream), key=lambda each: each.at))
