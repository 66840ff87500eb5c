"""Ideal flow past ellipsoids, in closed form."""
