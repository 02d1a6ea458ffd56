"""What gives a script a hollow checkpoint where it asks for a model that is not on this machine.

It works inside the user's process, loaded by path under a private name: relative imports only, besides the
standard library and what the script itself has imported.
"""

from .install import install as install
