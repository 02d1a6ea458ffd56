"""The training step of a trial: one builder that every device, and the symbolic engine, shares."""

from profiler.workload.step import Workload as Workload
