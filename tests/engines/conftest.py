"""One Spark for all tests of other engines: in this machine, with two tasks at once, without its web pages."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from typing import Any

import pytest

# A JVM lives for a minute here: what its second compiler would make faster later costs more than it brings.
JAVA = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"


@pytest.fixture(scope="session")
def spark(tmp_path_factory) -> Iterator[Any]:
    """A session in local mode, whose zone is not UTC, so that nothing can rest on it."""
    home = os.environ.get("JAVA_HOME")
    if shutil.which(f"{home}/bin/java" if home else "java") is None:
        pytest.skip("Spark needs Java 17 or newer: on Debian, apt-get install default-jre-headless")
    from pyspark.sql import SparkSession

    scratch = tmp_path_factory.mktemp("spark")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYSPARK_PYTHON", sys.executable)
        patch.setenv("SPARK_LOCAL_IP", "127.0.0.1")
        chosen = {
            # For an emulator of S3: no task here asks anything else of AWS.
            "spark.executorEnv.AWS_ACCESS_KEY_ID": "test",
            "spark.executorEnv.AWS_SECRET_ACCESS_KEY": "test",
            "spark.executorEnv.AWS_EC2_METADATA_DISABLED": "true",
            "spark.driver.bindAddress": "127.0.0.1",
            "spark.driver.extraJavaOptions": JAVA,
            "spark.driver.host": "127.0.0.1",
            "spark.local.dir": str(scratch),
            "spark.sql.adaptive.enabled": "false",
            "spark.sql.session.timeZone": "America/St_Johns",
            "spark.sql.shuffle.partitions": "2",
            "spark.sql.warehouse.dir": str(scratch / "warehouse"),
            "spark.ui.enabled": "false",
            "spark.ui.showConsoleProgress": "false",
        }
        builder = SparkSession.builder.master("local[2]").appName("tests")
        for name, value in chosen.items():
            builder = builder.config(name, value)
        session = builder.getOrCreate()
        session.sparkContext.setLogLevel("ERROR")
        yield session
        session.stop()
