"""Trackers: what a training measures, also written for other programs."""

from pushforward.trackers.tracker import FOLDER, Tracker, trackers_of

__all__ = ["FOLDER", "Tracker", "trackers_of"]
