# Derived from src/memtrace/_async/__init__.py by scripts/unasync.py: edit that, then run `make regen`.
"""The client and its transports; one of two packages that differ only in `await`."""
