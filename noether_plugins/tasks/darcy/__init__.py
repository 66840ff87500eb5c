"""Flow through ground of random permeability, solved by finite volumes."""
