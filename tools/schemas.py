"""Write gate/schemas/*.json from gate/model.py, after a change of a Run or a Report.

python -m tools.schemas
"""

from __future__ import annotations

from pathlib import Path

from gate.schema import file_name, schema_text

DIRECTORY = Path(__file__).resolve().parent.parent / "gate" / "schemas"


def main() -> None:
    for kind in ("run", "report"):
        path = DIRECTORY / file_name(kind)
        path.write_text(schema_text(kind), encoding="utf-8")
        print(path.name)


if __name__ == "__main__":
    main()
