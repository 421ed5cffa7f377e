"""Training: what is checked first, the loop, its progress, loading what it wrote. Calls inference, zoo and below."""
