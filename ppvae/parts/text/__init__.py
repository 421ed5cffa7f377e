"""Text: the likelihood of token after token, and the networks that read and write texts."""
