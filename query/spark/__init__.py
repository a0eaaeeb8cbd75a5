"""A trail on Spark: the same answers from evidence alone, and the same runs, where one machine is too small.

Needs the extra `spark`, and Java 17. Nothing else of the project imports this package.
"""
