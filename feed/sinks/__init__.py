"""From a stream's entries to rows of tables: one sink a stream."""
