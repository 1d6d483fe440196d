"""`python -m memtrace` runs the command line."""

from memtrace.cli import main

main()
