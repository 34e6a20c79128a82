"""Reads what strangers wrote in processes of their own, which have nothing to lose and nothing to give away.

`layer` and `describe` are what such a process runs, `confine` is how it locks itself up, `processes` starts and feeds it.
"""
