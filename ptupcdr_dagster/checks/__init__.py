"""Facts about the tables and models, validated by Great Expectations inside DuckDB and shown as asset checks."""
