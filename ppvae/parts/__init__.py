"""Parts: what models and guides are built from. Calls language."""
