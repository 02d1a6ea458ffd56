"""Results of others as measurements: each format has one mapping, which names no method, model or row.

A reader turns a source into a `Reading`: measurements of an origin `imported:NAME`, with the environment
that the source states, and every row that cannot be one, with its reason. `add_to_store` adds a reading once.
What a source does not state is absent, a default that is true for it, or said by whoever imports it; it is
never guessed.
"""

from profiler.importers.csv_table import read_csv as read_csv
from profiler.importers.mapping import ColumnMapping as ColumnMapping
from profiler.importers.peft_suite import read_peft as read_peft
from profiler.importers.reading import ImportReport as ImportReport
from profiler.importers.reading import Reading as Reading
from profiler.importers.reading import RefusedRow as RefusedRow
from profiler.importers.reading import add_to_store as add_to_store
from profiler.importers.trainer_run import read_trainer_run as read_trainer_run
