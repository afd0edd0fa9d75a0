"""Trackers, which log training to other programs."""

from pushforward.trackers.tracker import FOLDER, Tracker, trackers_of

__all__ = ["FOLDER", "Tracker", "trackers_of"]
