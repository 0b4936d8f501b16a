"""Spark's jars: fetched once, checked, and never half there. Ivy is replaced by a small program."""

from __future__ import annotations

import hashlib
import os
import stat
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from pipeline import jars
from pipeline.jars import Jar, JarError

CONTENT = b"not really a jar"


def jar_of(name: str, content: bytes) -> Jar:
    return Jar("org.example", name, "1.0", len(content), hashlib.sha256(content).hexdigest())


@pytest.fixture
def pinned(monkeypatch: pytest.MonkeyPatch) -> tuple[Jar, ...]:
    """Two small jars in the place of the real ones, and no waiting between attempts."""
    pinned = (jar_of("first", CONTENT), jar_of("second", CONTENT * 2))
    monkeypatch.setattr(jars, "JARS", pinned)
    monkeypatch.setattr("tenacity.nap.time.sleep", lambda seconds: None)
    return pinned


@pytest.fixture
def java(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A ``java`` that notes its arguments and delivers what lies in the folder ``remote``."""
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "jdk"))
    monkeypatch.delenv(jars.IVY_SETTINGS_VARIABLE, raising=False)
    (tmp_path / "remote").mkdir()
    program = tmp_path / "jdk" / "bin" / "java"
    program.parent.mkdir(parents=True)
    script = tmp_path / "java.py"
    # not by "#!python": that line cannot hold a path with a space, which a clone's may have
    program.write_text(f"#!/bin/sh\nexec '{sys.executable}' '{script}' \"$@\"\n")
    script.write_text(
        f"""import pathlib, shutil, sys
here = pathlib.Path({str(tmp_path)!r})
with (here / "calls").open("a") as calls:
    calls.write(" ".join(sys.argv[1:]) + "\\n")
remote = list((here / "remote").iterdir())
if not remote:
    print("....", "\\t\\tmodule not found: org.example#first;1.0", sep="\\n")
    sys.exit(1)
target = pathlib.Path(sys.argv[sys.argv.index("-retrieve") + 1]).parent
for file in remote:
    shutil.copy(file, target)
"""
    )
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return program


def offer(tmp_path: Path, jar: Jar, content: bytes) -> None:
    (tmp_path / "remote" / jar.file_name).write_bytes(content)


def calls(tmp_path: Path) -> list[str]:
    noted = tmp_path / "calls"
    return noted.read_text().splitlines() if noted.exists() else []


def test_missing_jars_are_fetched_and_checked_once(
    tmp_path: Path, java: Path, pinned: tuple[Jar, ...]
) -> None:
    offer(tmp_path, pinned[0], CONTENT)
    offer(tmp_path, pinned[1], CONTENT * 2)
    folder = tmp_path / "jars"
    assert jars.ensure_jars(folder) == [folder / "first-1.0.jar", folder / "second-1.0.jar"]
    assert [path.read_bytes() for path in jars.ensure_jars(folder)] == [CONTENT, CONTENT * 2]
    assert len(calls(tmp_path)) == 1
    assert {path.name for path in folder.iterdir()} == {"first-1.0.jar", "second-1.0.jar"}


def test_a_truncated_jar_is_fetched_again(tmp_path: Path, java: Path, pinned: tuple[Jar, ...]) -> None:
    offer(tmp_path, pinned[0], CONTENT)
    offer(tmp_path, pinned[1], CONTENT * 2)
    folder = tmp_path / "jars"
    jars.ensure_jars(folder)
    (folder / "first-1.0.jar").write_bytes(CONTENT[:3])
    assert jars.missing_jars(folder) == [pinned[0]]
    jars.ensure_jars(folder)
    assert (folder / "first-1.0.jar").read_bytes() == CONTENT


def test_a_jar_with_another_content_is_refused_and_not_kept(
    tmp_path: Path, java: Path, pinned: tuple[Jar, ...]
) -> None:
    offer(tmp_path, pinned[0], CONTENT[::-1])  # the same size, so that only the checksum can tell
    offer(tmp_path, pinned[1], CONTENT * 2)
    folder = tmp_path / "jars"
    with pytest.raises(JarError, match=r"first-1\.0\.jar is not the published file") as caught:
        jars.ensure_jars(folder)
    assert pinned[0].sha256 in str(caught.value)
    assert list(folder.iterdir()) == []


def test_a_jar_that_was_not_delivered_is_named(tmp_path: Path, java: Path, pinned: tuple[Jar, ...]) -> None:
    offer(tmp_path, pinned[1], CONTENT * 2)
    with pytest.raises(JarError, match=r"first-1\.0\.jar was not delivered"):
        jars.ensure_jars(tmp_path / "jars")


def test_a_network_failure_is_tried_again_and_then_explained(
    tmp_path: Path, java: Path, pinned: tuple[Jar, ...]
) -> None:
    with pytest.raises(JarError) as caught:
        jars.ensure_jars(tmp_path / "jars")
    assert len(calls(tmp_path)) == jars.ATTEMPTS
    assert "module not found: org.example#first;1.0" in str(caught.value)
    assert "...." not in str(caught.value).splitlines()[1]
    assert jars.IVY_SETTINGS_VARIABLE in str(caught.value)


def test_a_users_ivy_settings_are_handed_on(
    tmp_path: Path, java: Path, pinned: tuple[Jar, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    offer(tmp_path, pinned[0], CONTENT)
    offer(tmp_path, pinned[1], CONTENT * 2)
    settings = tmp_path / "ivysettings.xml"
    settings.write_text("<ivysettings/>")
    monkeypatch.setenv(jars.IVY_SETTINGS_VARIABLE, str(settings))
    jars.ensure_jars(tmp_path / "jars")
    assert f"-settings {settings}" in calls(tmp_path)[0]


def test_ivy_settings_that_are_not_there_are_told(
    tmp_path: Path, java: Path, pinned: tuple[Jar, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(jars.IVY_SETTINGS_VARIABLE, str(tmp_path / "nowhere.xml"))
    with pytest.raises(JarError, match=r"nowhere\.xml, which is not a file"):
        jars.ensure_jars(tmp_path / "jars")
    assert calls(tmp_path) == []


def test_without_java_the_error_says_which_java_is_needed(
    tmp_path: Path, pinned: tuple[Jar, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "nothing"))
    with pytest.raises(JarError, match="install Java 17"):
        jars.ensure_jars(tmp_path / "jars")


def test_the_class_path_lists_every_jar_in_order(
    tmp_path: Path, pinned: tuple[Jar, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    folder = tmp_path / "jars"
    folder.mkdir()
    (folder / "first-1.0.jar").write_bytes(CONTENT)
    (folder / "second-1.0.jar").write_bytes(CONTENT * 2)
    expected = [str(folder / "first-1.0.jar"), str(folder / "second-1.0.jar")]
    assert jars.class_path().split(os.pathsep) == expected


def test_ivy_is_asked_for_exactly_the_pinned_jars() -> None:
    root = ElementTree.fromstring(jars.ivy_file(list(jars.JARS)))  # noqa: S314  (our own text)
    asked = [dependency.attrib for dependency in root.iter("dependency")]
    assert [(d["org"], d["name"], d["rev"]) for d in asked] == [
        (jar.organisation, jar.name, jar.revision) for jar in jars.JARS
    ]
    assert {d["transitive"] for d in asked} == {"false"}


def test_the_hadoop_jar_has_the_version_of_pysparks_own_hadoop() -> None:
    pyspark = pytest.importorskip("pyspark", reason="the plain install has no Spark")
    bundled = next((Path(pyspark.__file__).parent / "jars").glob("hadoop-client-api-*.jar"))
    ours = next(jar for jar in jars.JARS if jar.name == "hadoop-aws")
    assert bundled.name == f"hadoop-client-api-{ours.revision}.jar"
