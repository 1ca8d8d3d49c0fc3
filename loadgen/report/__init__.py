"""Pure functions from a result, or a run in progress, to what people look at."""
