"""What all data sets share: examples with a space, how they are read, split, hashed, checked and sampled."""
