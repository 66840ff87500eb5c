"""The built-in variants, tasks and workbench: an ordinary plugin that ships with the core."""
