"""Looks at the processes of a server from beside them, in an ephemeral container, and says what really runs.

`python -m lockstep.observer` needs nothing but the standard library. It reads /proc, and neither stops nor changes anything.
"""
