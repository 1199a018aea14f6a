"""Labels and reports in the formats that other tools read; a format a file."""
