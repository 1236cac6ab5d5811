"""Modules that several verbs share; none is a verb itself."""
