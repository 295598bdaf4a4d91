"""Events: the catalogue of tables and the durable, sequenced buffer."""

from bartizan.lake.buffer import Batch, Lake, Sizes, open_lake
from bartizan.lake.coerce import coerce
from bartizan.lake.sink import Sink
from bartizan.lake.tables import TABLES, KustoType, Table, declare, table

__all__ = ["TABLES", "Batch", "KustoType", "Lake", "Sink", "Sizes", "Table", "coerce", "declare", "open_lake", "table"]
