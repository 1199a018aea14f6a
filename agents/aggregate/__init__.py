"""Labels from the votes of several labelers: by weighted majority, or by Dawid and Skene's model of who errs how."""
