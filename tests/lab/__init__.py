"""A fleet of real mail hosts on one machine, whose logs come with a truth that was not read from logs.

`python -m tests.lab up`, `traffic`, `down`; see README.md.
"""
