"""`python -m memtrace_server` is `memtrace`."""

from memtrace.cli import main

if __name__ == "__main__":
    main()
