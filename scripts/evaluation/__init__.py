"""Data of `make eval`: a labelled log, and the searches to compare."""
