"""The line between the service and its drivers; no part of the public description."""
