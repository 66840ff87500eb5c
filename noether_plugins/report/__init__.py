"""``noether report``: one HTML file of runs and comparisons, to be looked at in any browser."""
