"""Bronze -> Silver -> Gold.

The modules in the order the data flows: ``files`` (which Bronze files are new), ``layout`` (how a
file is written), ``reader`` (raw strings), ``cleaning`` and ``entities`` (typed and enriched
columns), ``quality`` (reasons to quarantine), ``dedupe`` (row hash and disposition), ``silver``
(merge and quarantine), ``catalog`` (Glue), ``gold`` (marts). ``run`` ties them together, ``ledger``
remembers what was done, and ``cli`` is the command line.
"""
