"""Samples: are two of one distribution, and is an item one of those that a model makes?"""
