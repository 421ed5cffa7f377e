"""Sweeps: hyperparameters of training, searched by Optuna in as many processes as are started."""
