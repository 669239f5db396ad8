"""GitHub: what triggered this run, the one comment, the job summary, the artifact, the baseline commit.

Publishing never changes a verdict. Everything that comes from a pull request (names, artifact, event
fields its author chose) is data to be judged here, never an instruction; SECURITY.md has the threats.
"""
