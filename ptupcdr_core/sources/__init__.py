"""Where ratings come from: every format becomes the same staged rows, read by DuckDB.

``locate`` finds a domain's files (and downloads them), ``layout`` says what is in them, ``text`` and ``tables`` read
them, ``verify`` counts their rows once more by other means, and ``staging`` puts these together.
"""
