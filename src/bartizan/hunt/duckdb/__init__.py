"""DuckDB as the engine of hunting: a plan becomes SQL (`emit`), a connection is made safe (`open`), what comes back
becomes values of the wire (`values`)."""
