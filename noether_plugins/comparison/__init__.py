"""``noether compare``: variants side by side on one task, in one model, from several seeds."""
