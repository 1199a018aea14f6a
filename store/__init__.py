"""What is remembered, and what can be asked of it: reports, labels, runs and rounds in one DuckDB file."""
