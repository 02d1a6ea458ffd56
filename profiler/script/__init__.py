"""Runs a user's own training script on a device, watches its memory, and keeps the user's files as they are.

`run_script` starts the script with the interpreter that the user names; `inject/` is what works inside of it.
"""

from profiler.script.command import ScriptCommand as ScriptCommand
from profiler.script.command import script_command as script_command
from profiler.script.record import ScriptRun as ScriptRun
from profiler.script.supervisor import ScriptRequest as ScriptRequest
from profiler.script.supervisor import run_script as run_script
