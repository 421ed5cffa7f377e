"""``python -m ppvae.backends.distributions``: the text of docs/distributions.md."""

from ppvae.backends.distributions.page import page

print(page(), end="")
