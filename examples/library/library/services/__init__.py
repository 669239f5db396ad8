"""What the application does, as functions of a session; no HTTP here."""
