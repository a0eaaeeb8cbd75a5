"""What an answer is beside itself: a page in a notebook, a table for data frames.

Both show what the command line shows: the same columns, in the page those that people see, in tables those that
machines see; what is redacted is masked in either. Nothing is imported for it before somebody asks.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa


class Shown:
    """An answer that notebooks show as static HTML: no script, nothing loaded, the first rows and how many more.

    Beside the page a notebook keeps a text, which is what stands above the rows: never what is redacted.
    """

    __slots__ = ()

    def _repr_html_(self) -> str:
        from query.render.notebook import notebook_html  # noqa: PLC0415  only notebooks ask for it

        return notebook_html(self)

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:  # noqa: ARG002  may be ignored
        """What IPython keeps in a notebook: the page, and as text not `repr`, which holds everything."""
        from query.render.notebook import notebook_html, notebook_text  # noqa: PLC0415  as above

        return {"text/html": notebook_html(self), "text/plain": notebook_text(self)}


class Tabular(Shown):
    """An answer that is a table: polars, pandas, DuckDB and whatever else knows Arrow take it as it is."""

    __slots__ = ()

    def arrow(self) -> "pa.Table":
        """Its rows as an Arrow table: the columns of `-o parquet`, JSON as text, times as timestamp[ms, UTC]."""
        from query.render.answer_sheets import sheet_of  # noqa: PLC0415  Arrow takes its time
        from query.render.formats import arrow_table  # noqa: PLC0415

        return arrow_table(sheet_of(self))

    def pl(self) -> Any:
        """The same as a polars data frame, if polars is installed."""
        import polars as pl  # noqa: PLC0415  an extra

        return pl.from_arrow(self.arrow())

    def df(self) -> Any:
        """The same as a pandas data frame, if pandas is installed."""
        return self.arrow().to_pandas()

    def rel(self) -> Any:
        """The same as a relation of DuckDB's default connection, to be asked in SQL."""
        from query.engine import relation  # noqa: PLC0415

        return relation(self.arrow())

    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any:
        """The Arrow PyCapsule interface: a stream of the rows of `arrow`."""
        return self.arrow().__arrow_c_stream__(requested_schema)
