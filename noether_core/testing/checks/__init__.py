"""The checks, by theme. The first sentence of each is the contract."""
