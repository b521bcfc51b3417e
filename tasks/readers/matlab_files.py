"""MATLAB files (version 5 to 7.2) read by scipy, which makes arrays of plain values and runs nothing."""

import zlib
from pathlib import Path
from typing import Any

from scipy.io import loadmat
from scipy.io.matlab import MatReadError

from catalog.errors import SourceError

_DAMAGE = (MatReadError, ValueError, TypeError, KeyError, IndexError, OSError, EOFError, OverflowError, zlib.error)


def read_variable(path: Path, variable: str, what: str) -> Any:
    """One variable of a .mat file as scipy gives it: structs as arrays of named fields.

    Args:
        path: the file.
        variable: its name.
        what: what the file is, for messages: "MPII's release".

    Raises:
        SourceError: the file cannot be read, is of version 7.3 (HDF5), or lacks the variable.
    """
    try:
        values = loadmat(path, variable_names=[variable])
    except NotImplementedError as error:
        raise SourceError(f"{what} must be a MATLAB file of version 5 to 7.2; {path} is version 7.3.") from error
    except _DAMAGE as error:
        raise SourceError(f"{what} must be a MATLAB file; {path} is not ({error}); fetch it again.") from error
    if variable not in values:
        raise SourceError(f"{what} must hold the variable {variable}; {path} does not; fetch it again.")
    return values[variable]
