"""Helper models: one protocol per role (`protocols`), chosen by name (`registry`), called in batches (`calls`).

The embedded backends run on a CPU, are deterministic and download nothing; real models are other names of
the same roles. A backend never falls back to another one.
"""
