"""`outlast exec`: a program of the local user's as a run. No server, no port; a folder with a store for each."""
