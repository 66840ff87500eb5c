"""What the project promises of time and memory, measured."""
