"""What `make eval` measures search with: a labelled log, and its peers."""
