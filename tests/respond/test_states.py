"""Objects as they were at each change, however the feed is cut into batches and whatever came later."""

import asyncio
import tempfile
from typing import Any

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.respond.conftest import EVERY, TENANT, put_alert

from bartizan.respond.states import states
from bartizan.store import draft, open_store
from bartizan.store.alerts import ALERTS

STEPS = st.lists(
    st.tuples(
        st.sampled_from(["a", "b"]),
        st.sampled_from(["put", "put", "put", "delete"]),
        st.sampled_from(["low", "medium", "high"]),
        st.sampled_from(["newAlert", "resolved", "inProgress"]),
    ),
    min_size=1,
    max_size=12,
)


async def _compare(steps: list[tuple[str, str, str, str]], cut: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        store = open_store(folder, EVERY)
        await store.start()
        try:
            seen: dict[int, tuple[str, str]] = {}
            last_deleted: dict[str, int] = {}
            for id, what, severity, status in steps:
                if what == "delete":
                    await store.tenant(TENANT).write(lambda tx, id=id: tx.delete("alerts", id), actor="t")  # type: ignore[misc]
                    last_deleted[id] = await store.head()
                else:
                    stored = await put_alert(store, id, severity=severity, status=status)
                    seen[stored.seq] = (severity, status)
            feed = await store.changes(0, limit=1000, collections=["alerts"])
            ids = {change.seq: change.id for change in feed}
            for batch in (feed[:cut], feed[cut:]):
                found: dict[tuple[int, Any], Any] = await states(
                    store, batch, {(TENANT, "alerts"): frozenset(["v1.0", "beta"])}
                )
                asked = [c.seq for c in batch if c.op != "deleted"]
                assert set(found) == {(seq, version) for seq in asked for version in ("v1.0", "beta")}
                for (seq, _), state in found.items():
                    if last_deleted.get(ids[seq], 0) > seq:
                        assert state is None
                    else:
                        assert (state["severity"], state["status"]) == seen[seq]
        finally:
            await store.close()


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(STEPS, st.integers(0, 12))
def test_every_step_is_found_again(steps: list[tuple[str, str, str, str]], cut: int) -> None:
    """A state is the one that the change left, or unknown where the object has been deleted since."""
    asyncio.run(_compare(steps, cut))


def test_unknown_differences_leave_the_object_as_it_is() -> None:
    """A change that does not say what it changed cannot be taken back."""

    async def run() -> None:
        with tempfile.TemporaryDirectory() as folder:
            store = open_store(folder, EVERY)
            await store.start()
            await put_alert(store, "a", severity="low")
            stored = await store.tenant(TENANT).get("alerts", "a")
            assert stored is not None
            body = msgspec.json.decode(stored.doc)
            assert body["severity"] == "low"

            await store.tenant(TENANT).write(lambda tx: tx.put(draft(ALERTS, {"severity": "high"}, "a")), actor="t")
            feed = await store.changes(0, limit=10, collections=["alerts"])
            found = await states(store, feed, {(TENANT, "alerts"): frozenset(["v1.0"])})
            assert [state and state["severity"] for state in found.values()] == ["high", "high"]
            await store.close()

    asyncio.run(run())
