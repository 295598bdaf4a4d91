"""Changes on their way to the systems that own what was changed: this server's own set, in Graph's style."""

from bartizan.api.alerts import alerts_v2, incidents
from bartizan.api.identity_protection import risk_detections, risky_users
from bartizan.errors import Forbidden
from bartizan.extend import Can, Context, Resource, never, resource
from bartizan.odata.tree import Expr, In, Literal, Path
from bartizan.respond.queue import WRITE_BACKS

_SUBJECTS = {"alert": alerts_v2, "incident": incidents, "riskyUser": risky_users, "riskDetection": risk_detections}


def readable(ctx: Context) -> Expr:
    """Of what the caller may read itself."""
    able = [Literal(subject, "text") for subject, of in _SUBJECTS.items() if _may_read(ctx, of)]
    return In(Path(("subject",), kind="text"), tuple(able))


def _may_read(ctx: Context, of: Resource) -> bool:
    try:
        ctx.caller.require(of.read)
    except Forbidden:
        return False
    return True


resource(
    "security/writeBacks",
    "microsoft.graph.security.writeBack",
    collection=WRITE_BACKS,
    can=Can.READ,
    read="SecurityAlert.Read.All SecurityAlert.ReadWrite.All",
    filter="connection subject subjectId state changeNumber changedDateTime nextTryDateTime",
    rows=readable,
    versions=("beta",),
    unserved={"DELETE": never("what was written back is kept; bartizan writeback drop gives one up")},
)
for each in _SUBJECTS.values():
    each.navigation("writeBacks", WRITE_BACKS, column="subjectId", expand=True, versions=("beta",))
