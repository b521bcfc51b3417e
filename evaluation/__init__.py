"""Turns checkpoints into metric rows. Imports: ``catalog``, ``trainer`` (inference), ``tasks.backends``."""
