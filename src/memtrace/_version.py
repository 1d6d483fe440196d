"""The version of memtrace-sdk, of its client and its server alike."""

__version__ = "1.0.0"
