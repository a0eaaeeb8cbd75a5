"""The configuration: which source wins, and that every value can say where it came from."""

from pathlib import Path

import pytest

from query.config import load
from query.config_sources import FILE_NAME, HOME_FILE
from query.config_values import parse_size
from query.errors import UsageError
from query.settings import Settings, TableSettings, require_archive

PROD = """
default_archive = "prod"
tz = "UTC"

[archives.prod]
url = "s3://acme-audit/ddbtrail/"
profile = "audit-ro"

[archives.prod.tables.orders]
actor_attribute = "updated_by"
redact = ["card_number"]
"""


class Place:
    """A home and a working folder, and what a command started there would load."""

    def __init__(self, root):
        self.home = root / "home"
        self.cwd = root / "work" / "deep" / "er"
        self.cwd.mkdir(parents=True)
        self.home.mkdir()

    def write(self, path, text):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    def at_home(self, text):
        return self.write(self.home / HOME_FILE, text)

    def at_work(self, text):
        return self.write(self.cwd.parent / FILE_NAME, text)

    def load(self, environ=None, **flags):
        return load(flags, environ or {}, cwd=self.cwd, home=self.home)


@pytest.fixture
def place(tmp_path):
    return Place(tmp_path)


def origins(settings):
    return {name: (value, origin) for name, value, origin in settings.rows()}


def test_nothing_configured_is_a_working_default(place):
    """A first run has no file; only the archive must be named."""
    settings = place.load()
    assert settings.archive_url is None
    assert settings.tz is None
    assert settings.cache_dir == place.home / ".cache/ddbtrail"
    assert {origin for _, _, origin in settings.rows()} == {"default"}
    with pytest.raises(UsageError) as caught:
        require_archive(settings)
    assert "-a" in caught.value.hint


def test_each_source_wins_over_the_one_below(place):
    """Home, project, named archive, environment, flag: in this order, and each value says which it was."""
    environ, flags = {}, {}
    expected = []
    assert place.load().region is None
    home = place.at_home('region = "r-home"\n[archives.a]\nurl = "/a"')
    expected.append(("r-home", f"{home}: region"))
    assert origins(place.load(environ, **flags))["region"] == expected[-1]
    work = place.at_work('region = "r-work"\n')
    assert origins(place.load(environ, **flags))["region"] == ("r-work", f"{work}: region")
    place.at_home('region = "r-home"\n[archives.a]\nurl = "/a"\nregion = "r-archive"')
    flags["archive"] = "a"
    assert origins(place.load(environ, **flags))["region"] == ("r-archive", f"{home}: archives.a.region")
    environ["DDBTRAIL_REGION"] = "r-env"
    assert origins(place.load(environ, **flags))["region"] == ("r-env", "DDBTRAIL_REGION")
    flags["region"] = "r-flag"
    assert origins(place.load(environ, **flags))["region"] == ("r-flag", "--region")


def test_a_flag_that_was_not_given_and_an_empty_variable_count_as_absent(place):
    """The command line passes None for every option left out; containers set variables to nothing."""
    place.at_work('tz = "Europe/Paris"')
    assert place.load({"DDBTRAIL_TZ": ""}, tz=None).tz == "Europe/Paris"


def test_the_nearest_file_above_the_working_folder_is_read(place):
    """As with git, a command works the same anywhere below the project."""
    place.write(place.cwd.parent.parent / FILE_NAME, 'tz = "UTC"\nthreads = 3')
    place.at_work('tz = "Europe/Paris"')
    settings = place.load()
    assert (settings.tz, settings.threads) == ("Europe/Paris", None)


def test_the_named_archive_of_the_sample(place):
    """The sample in the documentation means what it says."""
    file = place.at_home(PROD)
    settings = place.load()
    assert require_archive(settings) == "s3://acme-audit/ddbtrail"
    assert (settings.archive_name, settings.profile, settings.tz) == ("prod", "audit-ro", "UTC")
    assert settings.table("orders") == TableSettings("updated_by", ("card_number",))
    assert settings.table("others") == TableSettings()
    shown = origins(settings)
    assert shown["archive"][1] == f"{file}: default_archive is 'prod'; {file}: archives.prod.url"
    assert shown["tables.orders.redact"] == (("card_number",), f"{file}: archives.prod.tables.orders.redact")
    assert shown["tables.orders.key_schema"] == (None, "default")


def test_a_name_wins_over_a_folder_of_the_same_name(place):
    """A configured name is what the person meant; `./prod` still says folder."""
    place.at_home(PROD)
    (place.cwd / "prod").mkdir()
    assert place.load(archive="prod").archive_url == "s3://acme-audit/ddbtrail"
    assert place.load(archive="./prod").archive_url == str(place.cwd / "prod")
    assert place.load({"DDBTRAIL_ARCHIVE": "prod"}).archive_name == "prod"


def test_another_archive_takes_nothing_from_the_default_one(place):
    """The profile of prod must not open somebody else's bucket, nor its redactions pretend to hold there."""
    place.at_home(PROD)
    settings = place.load(archive="s3://other")
    assert (settings.archive_url, settings.archive_name, settings.profile) == ("s3://other", None, None)
    assert settings.tables == {}
    assert settings.tz == "UTC"
    assert settings.archive_names == ("prod",)


def test_a_project_adds_to_an_archive_and_never_drops_its_redactions(place):
    """What is redacted at home stays redacted when a project describes the same archive further."""
    place.at_home(PROD)
    work = place.at_work('[archives.prod]\nregion = "eu-west-1"\n[archives.prod.tables.orders]\nkey_schema = "pk,sk"')
    settings = place.load()
    assert (settings.profile, settings.region) == ("audit-ro", "eu-west-1")
    assert settings.table("orders") == TableSettings("updated_by", ("card_number",), ("pk", "sk"))
    assert origins(settings)["tables.orders.key_schema"][1] == f"{work}: archives.prod.tables.orders.key_schema"


def test_paths_start_where_they_are_written(place):
    """A file's `./archive` is beside the file, a flag's is beside the person, `~` is home."""
    place.at_work('default_archive = "here"\ncache_dir = "cache"\n[archives.here]\nurl = "./archive"')
    settings = place.load()
    assert settings.archive_url == str(place.cwd.parent / "archive")
    assert settings.cache_dir == place.cwd.parent / "cache"
    assert place.load(archive="archive").archive_url == str(place.cwd / "archive")
    assert place.load(archive=Path("/srv/archive")).archive_url == "/srv/archive"
    assert place.load(archive="~/archive").archive_url == str(place.home / "archive")
    assert place.load(archive="file:///srv/archive").archive_url == "/srv/archive"


def test_a_folder_archive_holds_its_derived_data_unless_told_otherwise(place):
    """One root is enough for a folder; a locked bucket has no derived data beside the evidence."""
    assert place.load(archive="/srv/a").derived_url == "/srv/a"
    assert place.load(archive="s3://b/p").derived_url is None
    settings = place.load({"DDBTRAIL_DERIVED": "s3://b/derived"}, archive="s3://b/p", on_failure="s3://b/failed")
    assert (settings.derived_url, settings.on_failure_url) == ("s3://b/derived", "s3://b/failed")


def test_table_names_with_dots_keep_their_settings_apart(place):
    """DynamoDB allows dots in table names, TOML quotes them."""
    place.at_home('default_archive = "a"\n[archives.a]\nurl = "/a"\n[archives.a.tables."x.redact"]\nkey_schema = "id"')
    assert place.load().tables == {"x.redact": TableSettings(key_schema=("id",))}


def test_key_schemas_of_flag_environment_and_file(place):
    """The nearest word wins: a schema for this table, then one for any table, then what the file says."""
    place.at_home('default_archive = "a"\n[archives.a]\nurl = "/a"\n[archives.a.tables.orders]\nkey_schema = "f1,f2"')
    assert place.load().key_schema_for("orders") == ("f1", "f2")
    assert place.load().key_schema_for("others") is None
    assert place.load({"DDBTRAIL_KEY_SCHEMA": "orders=pk,sk;customers=id"}).key_schema_for("orders") == ("pk", "sk")
    assert place.load({"DDBTRAIL_KEY_SCHEMA": "customers=id"}).key_schema_for("orders") == ("f1", "f2")
    assert place.load({"DDBTRAIL_KEY_SCHEMA": "orders=pk,sk"}, key_schema="a,b").key_schema_for("orders") == ("a", "b")


@pytest.mark.parametrize(
    ("text", "key", "where", "hint"),
    [
        ('timezone = "UTC"', "timezone", "the top of the file", "remove 'timezone'"),
        ('default_achive = "x"', "default_achive", "the top of the file", "did you mean 'default_archive'"),
        ('[archives.prod]\nurl = "/a"\nprofil = "x"', "profil", "[archives.prod]", "did you mean 'profile'"),
        ('[archives.prod.tables.orders]\nredacted = ["a"]', "redacted", "[archives.prod.tables.orders]", "'redact'"),
    ],
)
def test_an_unknown_key_is_refused_with_the_closest_name(place, text, key, where, hint):
    """A misspelt `redact` that is passed over prints what should stay hidden."""
    file = place.at_work(text)
    with pytest.raises(UsageError) as caught:
        place.load()
    assert caught.value.message == f"{file}: unknown key {key!r} in {where}"
    assert hint in caught.value.hint


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("tz = 5", "tz"),
        ('tz = "Mars/Olympus"', "tz"),
        ('output = "xml"', "output"),
        ('color = "sometimes"', "color"),
        ("threads = 0", "threads"),
        ("threads = true", "threads"),
        ("threads = 1.5", "threads"),
        ('cache_limit = "much"', "cache_limit"),
        ('memory_limit = "0GB"', "memory_limit"),
        ('profile = ""', "profile"),
        ('default_archive = "gs://bucket"', "default_archive"),
        ('default_archive = "s3:///prefix"', "default_archive"),
        ('default_archive = "file://host/x"', "default_archive"),
        ('key_schema = "a,b,c"', "key_schema"),
        ("archives = 1", "archives"),
        ("archives.prod = 1", "archives.prod"),
        ("[tz]\na = 1", "tz"),
        (
            'default_archive = "a"\n[archives.a]\nurl = "/a"\n[archives.a.tables.t]\nredact = "card"',
            "archives.a.tables.t.redact",
        ),
    ],
)
def test_an_impossible_value_names_its_file_and_key(place, text, names):
    """With five sources, an error without its origin sends the person searching."""
    file = place.at_work(text)
    with pytest.raises(UsageError) as caught:
        place.load()
    assert caught.value.message.startswith(f"{file}: {names}")
    assert caught.value.hint


def test_an_impossible_value_names_its_variable_or_flag(place):
    """The same for what was typed."""
    with pytest.raises(UsageError, match=r"^DDBTRAIL_THREADS: 'many' is not"):
        place.load({"DDBTRAIL_THREADS": "many"})
    with pytest.raises(UsageError, match=r"^--cache-limit: "):
        place.load(cache_limit="-1")
    with pytest.raises(TypeError, match="not a flag: colour"):
        place.load(colour="always")


def test_an_archive_without_url_is_refused(place):
    """A name that leads nowhere is worse than none."""
    place.at_home('default_archive = "prod"\n[archives.prod]\nprofile = "x"')
    with pytest.raises(UsageError, match="archive 'prod' has no url"):
        place.load()
    assert place.load(archive="/a").archive_url == "/a"


@pytest.mark.parametrize("content", [b"tz = ", b"\xff\xfe"])
def test_a_file_that_is_no_toml_is_named(place, content):
    """The rest of the configuration must not be used as if the file were empty."""
    file = place.at_home("")
    file.write_bytes(content)
    with pytest.raises(UsageError) as caught:
        place.load()
    assert caught.value.message == f"{file} is not valid TOML"


@pytest.mark.parametrize(
    ("text", "size_bytes"),
    [("1", 1), ("1B", 1), ("20GB", 20_000_000_000), ("20 GB", 20_000_000_000), ("4GiB", 4 * 1024**3), ("2KB", 2000),
     ("3MiB", 3 * 1024**2), ("1TB", 10**12)],
)  # fmt: skip
def test_sizes_are_decimal_unless_they_say_binary(text, size_bytes):
    """GB and GiB differ by 7 %, and DuckDB reads them the same way."""
    assert parse_size(text) == size_bytes


@pytest.mark.parametrize("text", ["", "0", "-1", "1.5GB", "GB", "10 PB", "10gb", "80%", "1iB"])
def test_what_is_no_size_is_refused(text):
    """A limit of zero would stop everything, and a misread unit would fill the disk."""
    with pytest.raises(ValueError, match="is not a size"):
        parse_size(text)


def test_sizes_and_numbers_reach_the_settings(place):
    """Files may write numbers as numbers; the environment has only text."""
    place.at_work('cache_limit = 500\nthreads = 4\nmemory_limit = "2GB"')
    settings = place.load()
    assert (settings.cache_limit_bytes, settings.threads, settings.memory_limit) == (500, 4, "2GB")
    assert place.load(memory_limit="4000000000").memory_limit == "4000000000B"
    settings = place.load({"DDBTRAIL_THREADS": "8", "DDBTRAIL_CACHE_LIMIT": "1GB"}, output="jsonl", color="never")
    assert (settings.cache_limit_bytes, settings.threads, settings.output) == (10**9, 8, "jsonl")
    assert settings.color == "never"


def test_settings_do_not_change():
    """They are handed to every part of the reader, which may rely on them."""
    with pytest.raises(AttributeError):
        Settings().tz = "UTC"
