"""Says in which order the steps run; Prefect runs them. Imports no torch; the trainer is started as a process."""
