"""Routes of every table people keep, made from its declaration: list, read, create, change, delete, many at once."""
