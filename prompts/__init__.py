"""The prompts of the teachers and of the student, as files versioned by their content."""
