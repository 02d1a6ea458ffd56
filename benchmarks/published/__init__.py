"""What files of published measurements mean: rows as trials, and which of their figures is compared."""
