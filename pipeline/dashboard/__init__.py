"""The dashboard: one page on Gold and on the runs, served or written as one file.

A key figure is an aggregate over one table (:mod:`pipeline.gold.kpis`). DuckDB computes what it sums, for
every combination of the columns that people filter by (:mod:`~pipeline.dashboard.cubes`); the page adds up
the combinations that are selected and finishes the formula. So the figures hold for every selection,
also in a file without a server, and rows of customers or loans never leave the lake.
"""
