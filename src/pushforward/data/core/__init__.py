"""Code shared by all data sets: loading, splitting, hashing, checking and sampling."""
