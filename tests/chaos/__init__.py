"""Random kills of everything, and a judge who knows nothing but what clients, agents and the killer wrote down."""
