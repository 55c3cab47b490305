"""One module per command of `outlast`, each with a click `command`; and what they share."""
