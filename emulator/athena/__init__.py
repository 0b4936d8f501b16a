"""Athena on the laptop: the API, answered by DuckDB on the tables of the Glue catalogue.

The way of a statement: ``service`` (the API) -> ``executions`` (queue, limits, pool of workers) ->
``worker`` (a process of its own) -> ``statements`` (which is it: ``writes``, ``tables``, ``partitions``,
``listings``, or a query) -> ``engine`` -> ``transpile`` (Trino's SQL becomes DuckDB's, by ``syntax``,
``names``, ``allowed``, ``inference``, ``rules`` and ``functions``) -> ``catalog`` and ``sources`` (Glue's
tables become views) -> ``results``. What has no counterpart of the same meaning fails in Athena's
words.
"""
