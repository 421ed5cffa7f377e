"""Models: generative Pyro programs, one structure per file."""

if __name__ != "ppvae.models":
    raise ImportError("This folder is the package ppvae.models: please write `import ppvae.models` instead.")
