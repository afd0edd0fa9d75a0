"""Named data sets. A file defines `Source`s, or sets `Derived` from others, as variables or in a tuple."""
