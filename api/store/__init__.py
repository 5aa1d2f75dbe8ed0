"""The truth of state: tables, connections, migrations."""
