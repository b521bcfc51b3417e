"""The contract: what a pair is, how pairs are stored, how a pair becomes (instruction, source, target).

Imports: standard library, numpy, Pillow, OpenCV, pyarrow, duckdb, pycocotools. Nothing of ours above
it, no torch, no Prefect. Generated files (``mix.parquet``, ``tables/``, ``manifests/``) live beside this
code and are git-ignored.
"""
