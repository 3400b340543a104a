"""Weights that others trained, as runs of this suite.

files.py      a file -> its tensors, without running any code in it
layouts.py    published names and conventions -> this suite's, exactly or not at all
published.py  names, shapes and positions, held against this suite's DiT
arrival.py    a file and settings -> a finished run directory
"""
