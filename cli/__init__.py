"""The command line, a thin room: each command calls one function elsewhere, and loads it only when called."""
