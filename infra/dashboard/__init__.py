"""The dashboard: data, mix, training, evaluation, choices and runs in a browser (``make dashboard``)."""
