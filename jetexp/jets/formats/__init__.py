"""One module a public file format."""
