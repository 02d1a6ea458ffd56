"""Decides and shows: the command line and what it prints."""
