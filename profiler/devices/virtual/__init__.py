"""A GPU that is not there: the real CUDA build of torch on a driver that only accounts for memory.

Stand-ins for CUDA's libraries (`c/`) are compiled once for the installed torch and preloaded into the process
of a trial. Nothing of them is loaded anywhere else.
"""

from profiler.devices.virtual.device import VirtualDevice as VirtualDevice
