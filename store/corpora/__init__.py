"""Where reports come from: importers and the synthetic generator."""
