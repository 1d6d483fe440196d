"""Search: what a query means and how memories are ranked, the same for every store.

Stores build on `analysis`, `documents` and `matching`; `query`, `plan` and `ranking` build on stores.
"""
