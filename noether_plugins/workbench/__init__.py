"""``noether run``: train a small transformer, whose attention a config names, on the aerofoil
problem.
"""
