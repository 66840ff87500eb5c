"""``noether run``: a transformer, with any attention, learns the flow around aerofoils."""
