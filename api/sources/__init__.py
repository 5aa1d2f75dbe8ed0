"""Sources: roots that an administrator declared; nothing outside of them is ever opened."""
