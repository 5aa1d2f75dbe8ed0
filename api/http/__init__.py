"""What every request passes: guards before the routes, and what routes share."""
