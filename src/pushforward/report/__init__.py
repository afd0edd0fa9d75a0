"""A comparison in words, tables and pictures."""

from __future__ import annotations

from pushforward.report.report import Report

__all__ = ["Report"]
