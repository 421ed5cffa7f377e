"""Amortisation: a guide for a model that is trained, by maximum likelihood of latents that are known."""
