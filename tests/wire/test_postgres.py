"""What real clients send, answered alike by a server on PostgreSQL."""

from pathlib import Path

import pytest
from tests.wire.conftest import seeded
from tests.wire.test_client_rows import ROWS, check


@pytest.mark.postgres
def test_client_rows_on_postgres(tmp_path: Path, postgres_dsn: str) -> None:
    """Every row of the clients, on the other engine."""
    with seeded(tmp_path, "--store", postgres_dsn) as running, running.api() as api:
        for row in ROWS:
            check(api, row)
