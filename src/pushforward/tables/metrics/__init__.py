"""Metrics of table rows."""
