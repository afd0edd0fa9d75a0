"""Named data sets: files that define `Source` and `Derived` objects as variables or in a tuple."""
