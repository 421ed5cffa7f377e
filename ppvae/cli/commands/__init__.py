"""Commands: what each word after ``ppvae`` does, and its options."""
