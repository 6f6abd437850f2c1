"""Right answers that are no objects of the package itself: numbers, tables, small functions."""
