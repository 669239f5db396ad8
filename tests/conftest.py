"""What holds for every test."""

from __future__ import annotations

import signal

# A shell that starts us in the background has us ignore Ctrl-C, and every child would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)
