"""Table files and data frames: their format, their columns, and data sets made of them."""
