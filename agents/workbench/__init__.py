"""The workbench for prompts: what a change to a prompt did to the labels, for the price of what changed."""
