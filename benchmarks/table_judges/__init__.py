"""Judges of tables that are no metrics of the package."""
