"""Suites turn cases into values.

A suite is one module behind `gate.suites.worker.Worker`. Services and the application are values it
is given (a Side); it starts neither, and it judges nothing.
"""
