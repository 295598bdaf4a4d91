"""How the records of each source arrive: this server's own set, in Graph's style."""

from bartizan.extend import Can, never, resource
from bartizan.ingest.health import SOURCES

resource(
    "security/ingestionSources",
    "microsoft.graph.security.ingestionSource",
    collection=SOURCES,
    can=Can.READ,
    read="SecurityEvents.Read.All",
    filter="source state lastReceivedDateTime",
    versions=("beta",),
    unserved={"DELETE": never("counts of what has arrived are kept")},
)
