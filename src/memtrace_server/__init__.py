"""The Memtrace server: one core behind HTTP, or embedded in the client's own process."""
