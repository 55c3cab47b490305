"""Measurements. They print numbers and ratios; they never assert a time."""
