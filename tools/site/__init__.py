"""Docs as a site with search, built offline and strict about links."""
