"""Running: how torch code is run by JAX: stand-ins for tensors, the tables that they lead to, shadows of modules."""
