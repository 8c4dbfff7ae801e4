"""Web pages: the report on a run."""
