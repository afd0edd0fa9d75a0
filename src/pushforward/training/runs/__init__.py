"""Runs: what a run's folder holds, its lock, spec, log and provenance, how it is read, started and taken up again."""
