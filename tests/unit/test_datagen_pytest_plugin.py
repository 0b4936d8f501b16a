"""The fixtures work in a project that knows nothing but their names."""

pytest_plugins = ["pytester"]

TEST = """
    def test_tables(bank_tables):
        one = bank_tables("neobank", seed=7, scale=12)
        assert one["customers"].height == 12
        assert bank_tables("neobank", seed=7, scale=12)["accounts"] is one["accounts"]
        assert bank_tables("neobank", seed=8, scale=12)["accounts"] is not one["accounts"]

    def test_files(bank_files, tmp_path):
        manifest = bank_files(scale=12, dirty=0.1)
        file = manifest.entities["loans"].files[0]
        assert (tmp_path / file.path).stat().st_size == file.bytes
"""


def test_fixtures_give_tables_and_files(pytester):
    pytester.makepyfile(TEST)
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider")
    result.assert_outcomes(passed=2)


def test_the_plugin_is_announced_to_pytest():
    import tomllib
    from pathlib import Path

    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8"))
    assert project["project"]["entry-points"]["pytest11"] == {"finlake": "datagen.pytest_plugin"}
