import marimo

__generated_with = "0.25.2"
app = marimo.App(width="medium", app_title="What happened to this item?")


@app.cell(hide_code=True)
def _(mo):
    mo.md("""
    # What happened to this item?

    At the end of August, customer 7 could order for 25 000. Who allowed it, what was it before, how long did it last,
    and what else did the same person do?

    Everything below is read from the archive; nothing here writes, and nothing leaves this machine.
    """)
    return


@app.cell
def _():
    import marimo as mo

    import query
    from query.cli import run

    run(["demo", "ddbtrail-demo", "-q"])  # a sample to try it on; leave this line out for an archive of your own
    archive = query.open(
        "ddbtrail-demo/archive",  # or s3://…, with profile="…"
        actor_attribute={"customers": "updated_by", "orders": "updated_by", "stock": "updated_by"},
        redact={"customers": ["card_number"]},
    )
    return archive, mo


@app.cell
def _(archive):
    customers = archive.table("customers")
    customer = customers.item(7)
    history = customer.history(attributes=["credit_limit"])
    history
    return customer, customers, history


@app.cell(hide_code=True)
def _(mo):
    mo.md("""
    An answer is a table too: marimo's SQL cells, polars, pandas and DuckDB take it as it is.
    """)
    return


@app.cell
def _(history, mo):
    raised = mo.sql(
        """
        SELECT change_id, changed_at, actor, (change->>'old')::INT AS before, (change->>'new')::INT AS after
        FROM (SELECT *, unnest(changes::JSON[]) AS change FROM history)
        WHERE change->>'path' = 'credit_limit' AND after > 10000
        """
    )
    return (raised,)


@app.cell
def _(customer, history, raised):
    version = customer.version(f"@{raised['change_id'][0]}")
    following = next(found for found in reversed(history) if found.valid_from_ms > version.valid_from_ms)
    days = (following.valid_from_ms - version.valid_from_ms) / 86_400_000
    version
    return days, version


@app.cell(hide_code=True)
def _(days, mo, version):
    mo.md(f"""
    {version.prev.item["credit_limit"]} before, {version.item["credit_limit"]} for {days:.1f} days, set by
    **{version.actor}**.
    """)
    return


@app.cell
def _(customer):
    customer.blame()
    return


@app.cell
def _(customers, raised):
    others = customers.log(actor=raised["actor"][0])
    others
    return (others,)


@app.cell
def _(archive):
    verified = archive.verify("customers", pinned_key="ddbtrail-demo/sample.key.pub", during="2026-Q3")
    verified
    return (verified,)


if __name__ == "__main__":
    app.run()
