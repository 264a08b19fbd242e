"""Data: the UMRG rows, where they come from and how they are written."""
