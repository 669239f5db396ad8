"""Report -> text and Markdown: pure, and the only place where numbers become words.

Outcomes, levels and the verdict were decided before; what a Report holds is shown, nothing is judged.
"""

from __future__ import annotations

from gate.report.markdown import markdown
from gate.report.text import text

__all__ = ["markdown", "text"]
