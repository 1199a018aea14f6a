"""Who labels: the teacher graph, its agents, and the one LLM client."""
