"""Prints the README's command that is marked `<!-- executed by CI: NAME -->`, as it is written."""

import re
import sys
from pathlib import Path

text, name = Path(sys.argv[1]).read_text(), sys.argv[2]
found = re.findall(rf"<!-- executed by CI: {re.escape(name)} -->\n```console\n\$ (.+)\n```", text)
if len(found) != 1:
    sys.exit(f"{sys.argv[1]}: {len(found)} commands are marked {name!r}, expected one")
print(found[0])
