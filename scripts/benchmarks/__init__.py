"""Measurements of `make bench`: one module for each part of the report."""
