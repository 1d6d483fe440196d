"""Search: the meaning of queries and the ranking of memories, the same for every store.

Stores build on `analysis`, `documents` and `matching`; `query`, `plan` and `ranking` build on stores.
"""
