"""Where measurements are kept: append-only, in SQLite or a database server, and out again as tables."""

from profiler.store.export import FORMATS as FORMATS
from profiler.store.export import SCHEMA_VERSION as SCHEMA_VERSION
from profiler.store.export import export as export
from profiler.store.selection import Selection as Selection
from profiler.store.store import MergeReport as MergeReport
from profiler.store.store import Store as Store
from profiler.store.store import StoreInfo as StoreInfo
from profiler.store.table import Table as Table
