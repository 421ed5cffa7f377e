"""Answers: a question asked of every item alone, in torch and in JAX."""
