"""The client, and how it sends; one of two packages that differ in nothing but waiting.

Each module is imported for itself: who wants a client does not need what buffers are made of.
"""
