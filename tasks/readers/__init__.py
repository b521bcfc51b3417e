"""One file per source dataset: read its annotations, stream records, decode no pixel."""
