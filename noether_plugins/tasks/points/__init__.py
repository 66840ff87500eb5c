"""Fields at points in your own files: meshes, tables and arrays."""
