"""The client and its transports; one of two packages that differ only in `await`."""
