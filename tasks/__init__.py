"""Turns source datasets into pairs: readers, helper-model backends and the steps between them.

Imports: ``catalog`` and the libraries of the backends. No Prefect (``flows`` wraps the steps), and
nothing heavy at import time: torch is loaded by the backend that needs it.
"""
