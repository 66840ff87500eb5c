"""What the project promises, held by tests: each folder mirrors the one that it tests."""
