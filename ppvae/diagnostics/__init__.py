"""Diagnostics: can the trained pair be believed?"""
