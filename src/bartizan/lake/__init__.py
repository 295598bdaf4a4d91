"""Events: the catalogue of tables and the durable, sequenced buffer."""
