"""Probes read the work done while a suite measures: statements, commands, the machine itself.

They know a side by its servers' values, ask the servers' own counters, and change nothing.
"""
