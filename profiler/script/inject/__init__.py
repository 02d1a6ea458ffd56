"""What runs inside the process of a user's script: it watches memory, keeps files safe, and stops in time.

Loaded by `bootstrap.py` under a private name, in the interpreter of the user: only relative imports, the
standard library, and what the script itself imports (never before the script does).
"""
