"""When runs start by themselves: cron in a time zone, and the one decision that each nominal time gets."""
