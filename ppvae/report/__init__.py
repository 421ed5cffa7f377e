"""Report: one page that says, to people who did not train a model, what of it can be believed."""
