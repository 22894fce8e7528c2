"""Great Expectations, loaded in a way that can be forked from; everything here imports it from this module first.

Where pyspark is installed the library imports Spark Connect, which takes a program that was started by ``python -c``
for doctests and ends it; servers that steps and pairs are forked from are such programs.
"""

import os
import sys

# Read when the library is imported.
os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")

_hidden = {"pyspark.sql.connect.dataframe", "pyspark.sql.connect.session"} - sys.modules.keys()
try:
    sys.modules.update(dict.fromkeys(_hidden))  # type: ignore[arg-type] # None: there is no such module
    import great_expectations as gx
finally:
    for name in _hidden:
        del sys.modules[name]

__all__ = ["gx"]
