"""What one trial is: the fields that decide what a training step costs, and their one canonical form."""

from profiler.spec.trial import TrialSpec as TrialSpec
