"""Hollow checkpoints: folders that load like a model's checkpoint and hold none of its weights.

`profiler.hollow.checkpoint` writes them; `profiler.hollow.substitutable` and the package `substitution` give
them to scripts.
"""
