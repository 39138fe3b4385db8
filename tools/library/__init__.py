"""A folder of documents: read apart, kept as passages, searched by words."""
