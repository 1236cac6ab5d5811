"""Attacks on the product, one module for each part of the house that they aim at."""
