"""Predicts: memory, speed and accuracy of trials nobody has run."""
