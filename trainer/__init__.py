"""Turns ``mix.parquet`` into checkpoints with torchrun. Imports: ``catalog``, torch, diffusers, transformers."""
