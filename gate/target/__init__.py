"""The program under test: its repository, its environment, its processes. Measuring it is not here.

repository: snapshots, the base commit, worktrees.  environment: interpreter, dependencies, install.
process: placeholders filled, migrations, the application from start to stop.
"""
