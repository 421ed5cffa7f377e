"""Ids: what tells items apart, and joins what files and tables hold of one."""
