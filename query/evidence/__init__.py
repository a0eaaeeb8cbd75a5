"""Packages of evidence: what changed in a period, how complete and how certain that is, for whoever has no archive.

A package says nothing of when or where it was built, so that the same question on the same archive gives the same
bytes.
"""
