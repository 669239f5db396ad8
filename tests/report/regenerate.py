"""Write the golden files again after a change of the renderers that is meant; then read their diff.

python tests/report/regenerate.py
"""

from __future__ import annotations

from pathlib import Path

from example_reports import EXAMPLES

from gate.report import markdown, text

GOLDEN = Path(__file__).parent / "golden"


def renderings() -> dict[str, str]:
    """What each golden file holds: both widths of the text, and the comment."""
    found = {}
    for name, make in EXAMPLES.items():
        report = make()
        found[f"{name}.txt"] = text(report, width=100)
        found[f"{name}.md"] = markdown(report)
    for name in ("n-plus-one", "slower"):
        found[f"{name}.80.txt"] = text(EXAMPLES[name](), width=80)
    return found


def main() -> None:
    found = renderings()
    for path in GOLDEN.iterdir():
        path.unlink()
    for name, rendered in found.items():
        (GOLDEN / name).write_text(rendered, encoding="utf-8")


if __name__ == "__main__":
    main()
