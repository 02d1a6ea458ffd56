"""One trial is one fresh process: its protocol, its isolation, and the row it becomes."""

from profiler.harness.harness import Harness as Harness
from profiler.harness.protocol import MeasurementProtocol as MeasurementProtocol
