"""Modules that several verbs share, and parts of larger verbs; none is a verb itself."""
