"""Many trials from one file: what it says, the trials it stands for, in the order they are run."""

from profiler.sweep.file import SweepFile as SweepFile
from profiler.sweep.plan import PlannedTrial as PlannedTrial
from profiler.sweep.plan import SweepPlan as SweepPlan
from profiler.sweep.runner import SweepReport as SweepReport
from profiler.sweep.runner import SweepRunner as SweepRunner
