"""Statistics: what a finished run did, and to which documents."""
