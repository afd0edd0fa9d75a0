"""What watches a training: measures, alarms, pictures and trackers."""
