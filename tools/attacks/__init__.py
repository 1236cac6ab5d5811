"""Attacks on the product: one module for each part that they aim at."""
