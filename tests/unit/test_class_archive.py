"""Which class archive Java is told to use, and that it takes it."""

import os
import subprocess
from pathlib import Path

import pyspark
import pytest

from emulator.glue.command import java_options, spark_conf
from pipeline import class_archive
from pipeline.jars import class_path, jar_folder, java_command, missing_jars


@pytest.fixture
def jars(tmp_path, monkeypatch):
    monkeypatch.setattr(class_archive, "jar_folder", lambda: tmp_path)
    return tmp_path


def test_without_an_archive_java_gets_no_option(jars):
    assert class_archive.java_options() == []


def test_an_archive_that_is_there_is_used(jars):
    archive = class_archive.archive_file()
    archive.touch()
    assert class_archive.java_options()[0] == f"-XX:SharedArchiveFile={archive}"


def test_another_java_or_other_jars_want_another_archive(jars, monkeypatch):
    before = class_archive.archive_file()
    monkeypatch.setattr(class_archive, "java_command", lambda: None)
    another_java = class_archive.archive_file()
    monkeypatch.setattr(class_archive, "JARS", class_archive.JARS[1:])
    assert len({before, another_java, class_archive.archive_file()}) == 3


def test_a_load_that_fails_leaves_no_archive_and_no_rest(jars, monkeypatch):
    monkeypatch.setattr(class_archive.sys, "executable", "/bin/false")
    outdated = jars / "spark-000000000000.jsa"
    outdated.touch()
    assert class_archive.make_archive() is False
    assert list(jars.iterdir()) == []


@pytest.mark.skipif(bool(missing_jars()), reason="Spark's jars are not there: `make install` fetches them")
def test_java_takes_the_installed_archive_for_sparks_class_path():
    archive = class_archive.archive_file()
    assert archive.is_file(), "`make install` makes it"
    home = Path(pyspark.__file__).parent
    # As PySpark's own script puts it together; `-Xshare:on` is an error where Java could not use the archive.
    command = [java_command(), "-XX:+UseParallelGC", "-Xshare:on", f"-XX:SharedArchiveFile={archive}", "-cp"]
    for classes, code in (
        (os.pathsep.join([class_path(), str(home / "conf"), str(home / "jars" / "*")]), 0),
        (class_path(), 1),
    ):
        run = subprocess.run([*command, classes, "-version"], capture_output=True, text=True, check=False)
        assert run.returncode == code, run.stderr


@pytest.mark.skipif(bool(missing_jars()), reason="Spark's jars are not there: `make install` fetches them")
def test_a_glue_job_with_delta_has_the_class_path_that_the_archive_was_made_with():
    jars = sorted(jar_folder().glob("*.jar"))
    conf = spark_conf({}, {}, jars, frozenset({"delta"}))
    assert conf["spark.driver.extraClassPath"] == class_path()
    assert f"-XX:SharedArchiveFile={class_archive.archive_file()}" in java_options(jar_folder())
