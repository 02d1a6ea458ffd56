"""Measures: builds the training step of a trial, runs it on a device, keeps one measurement."""
