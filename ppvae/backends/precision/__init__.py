"""Precision: products of networks in fewer bits than all else, on either backend."""
