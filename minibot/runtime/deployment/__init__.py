"""Deployment: the code that is deployed, and how it gets there."""
