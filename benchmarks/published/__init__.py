"""What each file of published measurements means: its rows as trials, and which of their figures is compared."""
