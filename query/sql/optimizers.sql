-- DuckDB 2.0.0: CASE WHEN f(x) < constant THEN x END over a column known to hold only NULL fails to bind in this pass
-- ("BindBuiltinScalarFunction did not return a BoundFunctionExpression"). Without it nothing measured got slower.
SET GLOBAL disabled_optimizers = 'statistics_propagation'
