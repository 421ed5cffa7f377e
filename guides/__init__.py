"""Guides: amortised posteriors, one way to join the experts per file."""

if __name__ != "ppvae.guides":
    raise ImportError("This folder is the package ppvae.guides: please write `import ppvae.guides` instead.")
