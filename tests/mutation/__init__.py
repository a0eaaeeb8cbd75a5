"""Mutation testing of the code that vouches for an archive (`make mutants`, docs/decisions/0008)."""
