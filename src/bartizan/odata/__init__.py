"""OData: text to tree, the tree over one object in memory, the query options."""
