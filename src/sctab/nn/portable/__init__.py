"""Trained networks in other frameworks than PyTorch."""
