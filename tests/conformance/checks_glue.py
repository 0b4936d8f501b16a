"""What AWS does: the Glue Data Catalog, and Glue's jobs and crawlers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from checks import Aws, Group, error_of, only

MISSING = "400 EntityNotFoundException"
PRESENT = "400 AlreadyExistsException"

COLUMNS = [
    {"Name": "customer_id", "Type": "bigint", "Comment": "Number of the customer; größer als 0."},
    {"Name": "email", "Type": "string", "Comment": "E-mail", "Parameters": {"pii": "email"}},
    {"Name": "balance", "Type": "decimal(18,2)", "Parameters": {"unit": "EUR", "pii": "none"}},
]
STORAGE = {
    "Location": "s3://bucket/silver/customers",
    "InputFormat": "org.apache.hadoop.mapred.SequenceFileInputFormat",
    "OutputFormat": "org.apache.hadoop.hive.ql.io.HiveSequenceFileOutputFormat",
    "Columns": COLUMNS,
    "SerdeInfo": {
        "SerializationLibrary": "org.apache.hadoop.hive.serde2.lazy.LazySimpleSerDe",
        "Parameters": {"path": "s3://bucket/silver/customers", "serialization.format": "1"},
    },
}
TABLE = {
    "Name": "customers",
    "Description": "Customers of the bank.",
    "TableType": "EXTERNAL_TABLE",
    "Parameters": {"classification": "delta", "spark.sql.sources.provider": "delta", "table_type": "DELTA"},
    "PartitionKeys": [],
    "StorageDescriptor": STORAGE,
}


def refusal_of_what_is_missing(what: str, call: Callable[..., Any], **arguments: Any) -> None:
    error = error_of(call, **arguments)
    assert error == MISSING, f"{what}: {error}"


def differences(kept: dict[str, Any], wanted: dict[str, Any]) -> list[str]:
    """The names under which something else was kept."""
    return [name for name, value in wanted.items() if kept.get(name) != value]


def assert_kept(kept: dict[str, Any], wanted: dict[str, Any]) -> None:
    different = differences(kept, wanted)
    assert not different, f"what differs: {', '.join(different)}"


# --- databases ---------------------------------------------------------------------------------------

databases = Group("Glue: databases")


@databases("a database is kept as it was made: description, location, parameters", needed=True)
def kept_database(aws: Aws) -> None:
    glue, name = aws.client("glue"), aws.fresh("database")
    wanted = {
        "Name": name,
        "Description": "Cleaned rows.",
        "LocationUri": "s3://bucket/silver/",
        "Parameters": {"owner": "a b"},
    }
    glue.create_database(DatabaseInput=wanted)
    database = glue.get_database(Name=name)["Database"]
    assert_kept(database, wanted)
    assert database.get("CreateTime"), "it has no CreateTime"
    listed = [each["Name"] for each in glue.get_databases()["DatabaseList"]]
    assert name in listed, "it is not listed"


@databases("a second database of a name is refused: `AlreadyExistsException`", needed=True)
def second_database(aws: Aws) -> None:
    glue, name = aws.database()
    error = error_of(glue.create_database, DatabaseInput={"Name": name})
    assert error == PRESENT, f"the second creation: {error}"


@databases("a database that is not there is `EntityNotFoundException`", needed=True)
def missing_database(aws: Aws) -> None:
    glue = aws.client("glue")
    refusal_of_what_is_missing("a get", glue.get_database, Name="none")
    refusal_of_what_is_missing("a new table", glue.create_table, DatabaseName="none", TableInput=TABLE)
    refusal_of_what_is_missing("an update", glue.update_database, Name="none", DatabaseInput={"Name": "none"})
    refusal_of_what_is_missing("a deletion", glue.delete_database, Name="none")


@databases("the tables of a database that is not there are `EntityNotFoundException`, too")
def tables_of_a_missing_database(aws: Aws) -> None:
    refusal_of_what_is_missing("a listing", aws.client("glue").get_tables, DatabaseName="none")


@databases("an update changes a database's description and parameters", needed=True)
def updated_database(aws: Aws) -> None:
    glue, name = aws.client("glue"), aws.fresh("database")
    glue.create_database(DatabaseInput={"Name": name, "Description": "old", "Parameters": {"a": "1"}})
    wanted = {"Name": name, "Description": "new", "Parameters": {"b": "2"}}
    glue.update_database(Name=name, DatabaseInput=wanted)
    assert_kept(glue.get_database(Name=name)["Database"], wanted)


@databases("what an update of a database does not name is gone")
def replaced_database(aws: Aws) -> None:
    glue, name = aws.client("glue"), aws.fresh("database")
    old = {"Name": name, "Description": "old", "Parameters": {"a": "1"}}
    glue.create_database(DatabaseInput=old)
    glue.update_database(Name=name, DatabaseInput={"Name": name})
    database = glue.get_database(Name=name)["Database"]
    left = [what for what in ("Description", "Parameters") if database.get(what)]
    assert not left, f"what stays: {', '.join(left)}"


@databases("a deleted database is gone, with its tables", needed=True)
def deleted_database(aws: Aws) -> None:
    glue, name = aws.database()
    glue.create_table(DatabaseName=name, TableInput=TABLE)
    glue.delete_database(Name=name)
    refusal_of_what_is_missing("a get", glue.get_database, Name=name)
    glue.create_database(DatabaseInput={"Name": name})
    tables = glue.get_tables(DatabaseName=name)["TableList"]
    assert tables == [], "a new database of the name has the tables of the old one"


@databases("databases are listed in pages")
def pages_of_databases(aws: Aws) -> None:
    glue = aws.client("glue")
    names = {aws.database()[1] for _ in range(3)}
    pages = list(glue.get_paginator("get_databases").paginate(PaginationConfig={"PageSize": 2}))
    sizes = [len(page["DatabaseList"]) for page in pages]
    listed = [each["Name"] for page in pages for each in page["DatabaseList"]]
    assert max(sizes) == 2, "MaxResults does not limit a page"
    assert names <= set(listed), "not each is listed"
    assert len(listed) == len(set(listed)), "one is listed twice"


# --- tables ------------------------------------------------------------------------------------------

tables = Group("Glue: tables")


def _table(aws: Aws, **more: Any) -> tuple[Any, dict[str, str]]:
    """A client, and the arguments that name a new table."""
    glue, database = aws.database()
    glue.create_table(DatabaseName=database, TableInput=TABLE | more)
    return glue, {"DatabaseName": database, "Name": TABLE["Name"]}


@tables("a table is kept as it was made: description, type, location, formats", needed=True)
def kept_table(aws: Aws) -> None:
    glue, where = _table(aws)
    table = glue.get_table(**where)["Table"]
    assert_kept(table, {name: TABLE[name] for name in ("Name", "Description", "TableType")})
    names = ("Location", "InputFormat", "OutputFormat")
    assert_kept(table["StorageDescriptor"], {name: STORAGE[name] for name in names})
    assert table["DatabaseName"] == where["DatabaseName"], "it has another DatabaseName"


@tables("columns keep their order, types, comments and parameters, such as the PII tag", needed=True)
def kept_columns(aws: Aws) -> None:
    glue, where = _table(aws)
    columns = glue.get_table(**where)["Table"]["StorageDescriptor"]["Columns"]
    assert [column["Name"] for column in columns] == [column["Name"] for column in COLUMNS], (
        "the order differs"
    )
    for column, wanted in zip(columns, COLUMNS, strict=True):
        assert_kept(column, wanted)


@tables("parameters of the table and of its SerDe are kept", needed=True)
def kept_parameters(aws: Aws) -> None:
    glue, where = _table(aws)
    table = glue.get_table(**where)["Table"]
    assert table["Parameters"] == TABLE["Parameters"], "the table's differ"
    assert_kept(table["StorageDescriptor"]["SerdeInfo"], STORAGE["SerdeInfo"])


@tables("a second table of a name is refused: `AlreadyExistsException`", needed=True)
def second_table(aws: Aws) -> None:
    glue, where = _table(aws)
    error = error_of(glue.create_table, DatabaseName=where["DatabaseName"], TableInput=TABLE)
    assert error == PRESENT, f"the second creation: {error}"


@tables("a table that is not there is `EntityNotFoundException`", needed=True)
def missing_table(aws: Aws) -> None:
    glue, database = aws.database()
    where = {"DatabaseName": database, "Name": "none"}
    refusal_of_what_is_missing("a get", glue.get_table, **where)
    refusal_of_what_is_missing(
        "an update", glue.update_table, DatabaseName=database, TableInput=TABLE | {"Name": "none"}
    )
    refusal_of_what_is_missing("a deletion", glue.delete_table, **where)


@tables("an update changes columns, comments, parameters and description", needed=True)
def updated_table(aws: Aws) -> None:
    glue, where = _table(aws)
    columns = [COLUMNS[1] | {"Comment": "new", "Parameters": {"pii": "name"}}, COLUMNS[0]]
    new = TABLE | {
        "Description": "new",
        "Parameters": {"classification": "delta"},
        "StorageDescriptor": STORAGE | {"Columns": columns},
    }
    glue.update_table(DatabaseName=where["DatabaseName"], TableInput=new)
    table = glue.get_table(**where)["Table"]
    assert_kept(table, {name: new[name] for name in ("Description", "Parameters")})
    kept = table["StorageDescriptor"]["Columns"]
    assert len(kept) == 2, f"{len(kept)} columns are left"
    for column, wanted in zip(kept, columns, strict=True):
        assert_kept(column, wanted)


@tables("what an update of a table does not name is gone")
def replaced_table(aws: Aws) -> None:
    glue, where = _table(aws)
    glue.update_table(DatabaseName=where["DatabaseName"], TableInput={"Name": where["Name"]})
    table = glue.get_table(**where)["Table"]
    left = [what for what in ("Description", "Parameters", "StorageDescriptor") if table.get(what)]
    assert not left, f"what stays: {', '.join(left)}"


@tables("a table knows when it was made and when it was changed")
def times_of_a_table(aws: Aws) -> None:
    glue, where = _table(aws)
    before = glue.get_table(**where)["Table"]
    missing = [what for what in ("CreateTime", "UpdateTime") if not before.get(what)]
    assert not missing, f"it has no {' and no '.join(missing)}"
    glue.update_table(DatabaseName=where["DatabaseName"], TableInput=TABLE)
    after = glue.get_table(**where)["Table"]
    assert after["CreateTime"] == before["CreateTime"], "an update changes CreateTime"
    assert after["UpdateTime"] >= before["UpdateTime"], "an update puts UpdateTime back"


@tables("a deleted table is gone", needed=True)
def deleted_table(aws: Aws) -> None:
    glue, where = _table(aws)
    glue.delete_table(**where)
    refusal_of_what_is_missing("a get", glue.get_table, **where)
    listed = glue.get_tables(DatabaseName=where["DatabaseName"])["TableList"]
    assert listed == [], "it is listed"


def _many_tables(aws: Aws) -> tuple[Any, str, list[str]]:
    glue, database = aws.database()
    names = ["accounts", "customers", "customers_old", "loans", "payments"]
    for name in names:
        glue.create_table(DatabaseName=database, TableInput=TABLE | {"Name": name})
    return glue, database, names


@tables("tables are listed in pages, each once")
def pages_of_tables(aws: Aws) -> None:
    glue, database, names = _many_tables(aws)
    pages = list(
        glue.get_paginator("get_tables").paginate(DatabaseName=database, PaginationConfig={"PageSize": 2})
    )
    listed = [each["Name"] for page in pages for each in page["TableList"]]
    assert sorted(listed) == names, "not each is listed once"
    sizes = [len(page["TableList"]) for page in pages]
    assert sizes == [2, 2, 1], f"tables by page: {str(sizes)[1:-1]}"


@tables("`Expression` lists the tables whose whole name it matches; `*` stands for anything")
def tables_by_expression(aws: Aws) -> None:
    glue, database, _ = _many_tables(aws)
    for expression, wanted in (
        ("customers", ["customers"]),
        ("cust*", ["customers", "customers_old"]),
        ("*_old", ["customers_old"]),
    ):
        listed = glue.get_tables(DatabaseName=database, Expression=expression)["TableList"]
        names = sorted(each["Name"] for each in listed)
        assert names == wanted, f"`{expression}` lists {', '.join(names) or 'none'}"


@tables("a name in capitals is kept in small letters")
def small_letters(aws: Aws) -> None:
    glue, database = aws.database()
    glue.create_table(DatabaseName=database, TableInput=TABLE | {"Name": "Customers"})
    table = only(glue.get_tables(DatabaseName=database)["TableList"])
    assert table["Name"] == "customers", "it stays in capitals"


@tables("several tables are deleted at once; those not there are named")
def batch_delete_of_tables(aws: Aws) -> None:
    glue, database, names = _many_tables(aws)
    answer = glue.batch_delete_table(DatabaseName=database, TablesToDelete=[*names[:2], "none"])
    errors = [(each["TableName"], each["ErrorDetail"]["ErrorCode"]) for each in answer.get("Errors", [])]
    assert errors == [("none", "EntityNotFoundException")], "the missing one is not named"
    left = sorted(each["Name"] for each in glue.get_tables(DatabaseName=database)["TableList"])
    assert left == names[2:], f"left are {', '.join(left)}"


@tables("tags of a database are kept, by its ARN")
def tags(aws: Aws) -> None:
    glue, name = aws.client("glue"), aws.fresh("database")
    glue.create_database(DatabaseInput={"Name": name}, Tags={"layer": "silver"})
    account = aws.client("sts").get_caller_identity()["Account"]
    arn = f"arn:aws:glue:eu-central-1:{account}:database/{name}"
    kept = glue.get_tags(ResourceArn=arn)["Tags"]
    assert kept == {"layer": "silver"}, "those of its creation are lost"
    glue.tag_resource(ResourceArn=arn, TagsToAdd={"owner": "bank"})
    glue.untag_resource(ResourceArn=arn, TagsToRemove=["layer"])
    kept = glue.get_tags(ResourceArn=arn)["Tags"]
    assert kept == {"owner": "bank"}, "adding and removing has another result"


# --- versions of tables ------------------------------------------------------------------------------

table_versions = Group("Glue: versions of tables")


def _updated(aws: Aws, **more: Any) -> tuple[Any, dict[str, str]]:
    """A client and the arguments that name a table that was made and then changed."""
    glue, where = _table(aws, Description="old")
    glue.update_table(DatabaseName=where["DatabaseName"], TableInput=TABLE | {"Description": "new"}, **more)
    return glue, {"DatabaseName": where["DatabaseName"], "TableName": where["Name"]}


def _versions(glue: Any, where: dict[str, str]) -> list[tuple[int, str]]:
    """Numbers and descriptions of a table's versions, in order."""
    listed = glue.get_table_versions(**where)["TableVersions"]
    return sorted((int(each["VersionId"]), each["Table"]["Description"]) for each in listed)


@table_versions("an update makes a version; all are listed, and can be got")
def listed_versions(aws: Aws) -> None:
    glue, where = _updated(aws)
    listed = _versions(glue, where)
    assert [text for _, text in listed] == ["old", "new"], f"{len(listed)} are listed"
    old = glue.get_table_version(**where, VersionId=str(listed[0][0]))["TableVersion"]["Table"]
    assert old["Description"] == "old", "a get of the old one brings another"
    current = glue.get_table(DatabaseName=where["DatabaseName"], Name=where["TableName"])["Table"]
    assert current.get("VersionId") == str(listed[1][0]), "the table itself names another version"


@table_versions("`SkipArchive` keeps no version of what was there before")
def skipped_version(aws: Aws) -> None:
    glue, where = _updated(aws, SkipArchive=True)
    listed = [text for _, text in _versions(glue, where)]
    assert listed == ["new"], f"listed are {', '.join(listed)}"


@table_versions("a version can be deleted")
def deleted_version(aws: Aws) -> None:
    glue, where = _updated(aws)
    old = str(_versions(glue, where)[0][0])
    glue.delete_table_version(**where, VersionId=old)
    left = [text for _, text in _versions(glue, where)]
    assert left == ["new"], f"left are {', '.join(left)}"
    refusal_of_what_is_missing("a get of it", glue.get_table_version, **where, VersionId=old)


@table_versions("an update that names an outdated `VersionId` is refused")
def outdated_version(aws: Aws) -> None:
    glue, where = _table(aws)
    known = glue.get_table(**where)["Table"]["VersionId"]
    new = {"DatabaseName": where["DatabaseName"], "TableInput": TABLE | {"Description": "new"}}
    glue.update_table(**new, VersionId=known)
    error = error_of(glue.update_table, **new, VersionId=known)
    assert error == "400 ConcurrentModificationException", f"the second update: {error}"


# --- partitions --------------------------------------------------------------------------------------

partitions = Group("Glue: partitions")

KEYS = [{"Name": "country", "Type": "string"}, {"Name": "year", "Type": "int"}]
VALUES = [["AT", "2023"], ["AT", "2024"], ["DE", "2024"], ["FR", "2025"]]


def _partition(values: list[str]) -> dict[str, Any]:
    place = f"{STORAGE['Location']}/{'/'.join(values)}"
    return {"Values": values, "StorageDescriptor": STORAGE | {"Location": place}, "Parameters": {"rows": "7"}}


def _partitioned(aws: Aws) -> tuple[Any, dict[str, str]]:
    glue, where = _table(aws, PartitionKeys=KEYS)
    place = {"DatabaseName": where["DatabaseName"], "TableName": where["Name"]}
    answer = glue.batch_create_partition(**place, PartitionInputList=[_partition(each) for each in VALUES])
    assert not answer.get("Errors"), "a batch creation fails"
    return glue, place


def _values(answer: dict[str, Any]) -> list[list[str]]:
    return sorted(each["Values"] for each in answer["Partitions"])


@partitions("partitions are made in a batch and kept with location and parameters; the keys, too")
def kept_partitions(aws: Aws) -> None:
    glue, where = _partitioned(aws)
    keys = glue.get_table(DatabaseName=where["DatabaseName"], Name=where["TableName"])["Table"][
        "PartitionKeys"
    ]
    assert keys == KEYS, "the keys differ"
    listed = _values(glue.get_partitions(**where))
    assert listed == VALUES, "not each is listed"
    partition = glue.get_partition(**where, PartitionValues=VALUES[2])["Partition"]
    wanted = _partition(VALUES[2])
    assert_kept(partition, {name: wanted[name] for name in ("Values", "Parameters")})
    assert partition["StorageDescriptor"]["Location"] == wanted["StorageDescriptor"]["Location"], (
        "the location differs"
    )


@partitions("a second partition of the same values is refused, alone and in a batch")
def second_partition(aws: Aws) -> None:
    glue, where = _partitioned(aws)
    error = error_of(glue.create_partition, **where, PartitionInput=_partition(VALUES[0]))
    assert error == PRESENT, f"alone: {error}"
    wanted = [_partition(VALUES[0]), _partition(["NL", "2025"])]
    errors = glue.batch_create_partition(**where, PartitionInputList=wanted).get("Errors", [])
    named = [(each["PartitionValues"], each["ErrorDetail"]["ErrorCode"]) for each in errors]
    assert named == [(VALUES[0], "AlreadyExistsException")], "a batch does not name it"
    assert ["NL", "2025"] in _values(glue.get_partitions(**where)), "a batch does not make the others"


@partitions("`Expression` finds partitions: `=`, `<`, `AND`, `OR`, by the keys' types")
def partitions_by_comparison(aws: Aws) -> None:
    glue, where = _partitioned(aws)
    glue.create_partition(**where, PartitionInput=_partition(["AT", "10000"]))
    for expression, wanted in (
        ("country = 'AT'", [["AT", "10000"], *VALUES[:2]]),
        ("country = 'AT' AND year < 2024", VALUES[:1]),
        ("year >= 2025", [["AT", "10000"], VALUES[3]]),
        ("country = 'FR' OR (country = 'AT' AND year = 2023)", [VALUES[0], VALUES[3]]),
    ):
        found = _values(glue.get_partitions(**where, Expression=expression))
        assert found == wanted, f"`{expression}` finds {len(found)}, not {len(wanted)}"


@partitions("`Expression` knows `IN`, `BETWEEN` and `LIKE`")
def partitions_by_sets(aws: Aws) -> None:
    glue, where = _partitioned(aws)
    for expression, wanted in (
        ("country IN ('DE', 'FR')", VALUES[2:]),
        ("year BETWEEN 2024 AND 2025", VALUES[1:]),
        ("country LIKE 'A%'", VALUES[:2]),
    ):
        found = _values(glue.get_partitions(**where, Expression=expression))
        assert found == wanted, f"`{expression}` finds {len(found)}, not {len(wanted)}"


@partitions("an `Expression` that cannot be read is refused")
def unreadable_expression(aws: Aws) -> None:
    glue, where = _partitioned(aws)
    error = error_of(glue.get_partitions, **where, Expression="country = = 'AT'")
    assert error == "400 InvalidInputException", f"the answer: {error}"


@partitions("partitions are listed in pages, each once")
def pages_of_partitions(aws: Aws) -> None:
    glue, where = _partitioned(aws)
    pages = list(glue.get_paginator("get_partitions").paginate(**where, PaginationConfig={"PageSize": 3}))
    assert sorted(values for page in pages for values in _values(page)) == VALUES, "not each is listed once"
    sizes = [len(page["Partitions"]) for page in pages]
    assert sizes == [3, 1], f"partitions by page: {str(sizes)[1:-1]}"


@partitions("a batch get brings those that are there")
def batch_get(aws: Aws) -> None:
    glue, where = _partitioned(aws)
    asked = [{"Values": VALUES[0]}, {"Values": ["XX", "1900"]}, {"Values": VALUES[3]}]
    answer = glue.batch_get_partition(**where, PartitionsToGet=asked)
    assert _values(answer) == [VALUES[0], VALUES[3]], "it brings others"


@partitions("a partition is updated")
def updated_partition(aws: Aws) -> None:
    glue, where = _partitioned(aws)
    new = _partition(VALUES[0]) | {"Parameters": {"rows": "8"}}
    glue.update_partition(**where, PartitionValueList=VALUES[0], PartitionInput=new)
    partition = glue.get_partition(**where, PartitionValues=VALUES[0])["Partition"]
    assert partition["Parameters"] == {"rows": "8"}, "the old parameters stay"
    refusal_of_what_is_missing(
        "one that is not there",
        glue.update_partition,
        **where,
        PartitionValueList=["XX", "1900"],
        PartitionInput=_partition(["XX", "1900"]),
    )


@partitions("a partition is deleted, alone and in a batch")
def deleted_partitions(aws: Aws) -> None:
    glue, where = _partitioned(aws)
    glue.delete_partition(**where, PartitionValues=VALUES[0])
    refusal_of_what_is_missing("a get of it", glue.get_partition, **where, PartitionValues=VALUES[0])
    asked = [{"Values": VALUES[1]}, {"Values": VALUES[0]}]
    errors = glue.batch_delete_partition(**where, PartitionsToDelete=asked).get("Errors", [])
    named = [(each["PartitionValues"], each["ErrorDetail"]["ErrorCode"]) for each in errors]
    assert named == [(VALUES[0], "EntityNotFoundException")], "a batch does not name what is not there"
    assert _values(glue.get_partitions(**where)) == VALUES[2:], "others are left"


# --- jobs and crawlers ------------------------------------------------------------------------------

jobs = Group("Glue: jobs and crawlers")

ROLE = "arn:aws:iam::000000000000:role/finlake"
JOB = {
    "Description": "Bronze to Silver",
    "Role": ROLE,
    "GlueVersion": "5.0",
    "WorkerType": "G.1X",
    "NumberOfWorkers": 2,
    "Timeout": 60,
    "MaxRetries": 1,
    "Command": {"Name": "glueetl", "PythonVersion": "3", "ScriptLocation": "s3://bucket/jobs/job.py"},
    "DefaultArguments": {"--job-language": "python", "--conf": "a=b --conf c=d"},
}


def _job(aws: Aws, **more: Any) -> dict[str, Any]:
    glue, name = aws.client("glue"), aws.fresh("job")
    glue.create_job(Name=name, **JOB, **more)
    return dict(glue.get_job(JobName=name)["Job"])


@jobs("a job is kept as it was made", needed=True)
def kept_job(aws: Aws) -> None:
    assert_kept(_job(aws), JOB)


@jobs("a job keeps its `ExecutionProperty`")
def execution_property(aws: Aws) -> None:
    kept = _job(aws, ExecutionProperty={"MaxConcurrentRuns": 3}).get("ExecutionProperty")
    assert kept == {"MaxConcurrentRuns": 3}, f"it becomes {kept or 'nothing'}"


@jobs("a job keeps the tags it was made with")
def tags_of_jobs(aws: Aws) -> None:
    name = _job(aws, Tags={"layer": "silver"})["Name"]
    account = aws.client("sts").get_caller_identity()["Account"]
    arn = f"arn:aws:glue:eu-central-1:{account}:job/{name}"
    kept = aws.client("glue").get_tags(ResourceArn=arn)["Tags"]
    assert kept == {"layer": "silver"}, f"they become {kept or 'none'}"


@jobs("a job that is not there is `EntityNotFoundException`", needed=True)
def missing_job(aws: Aws) -> None:
    refusal_of_what_is_missing("a get", aws.client("glue").get_job, JobName="none")


@jobs("a classifier of CSV is kept as it was made", needed=True)
def classifier(aws: Aws) -> None:
    glue, name = aws.client("glue"), aws.fresh("classifier")
    wanted = {
        "Name": name,
        "ContainsHeader": "PRESENT",
        "Delimiter": ",",
        "QuoteSymbol": '"',
        "DisableValueTrimming": True,
        "AllowSingleColumn": False,
        "Serde": "OpenCSVSerDe",
    }
    glue.create_classifier(CsvClassifier=wanted)
    assert_kept(glue.get_classifier(Name=name)["Classifier"]["CsvClassifier"], wanted)


@jobs("a crawler is kept as it was made: targets, policies, configuration", needed=True)
def crawler(aws: Aws) -> None:
    glue, name = aws.client("glue"), aws.fresh("crawler")
    delta = {"DeltaTables": ["s3://bucket/silver/customers/"], "WriteManifest": False}
    delta["CreateNativeDeltaTable"] = True
    wanted = {
        "Name": name,
        "DatabaseName": aws.database()[1],
        "Description": "Registers tables.",
        "RecrawlPolicy": {"RecrawlBehavior": "CRAWL_EVERYTHING"},
        "SchemaChangePolicy": {"UpdateBehavior": "LOG", "DeleteBehavior": "LOG"},
        "LineageConfiguration": {"CrawlerLineageSettings": "DISABLE"},
        "Configuration": '{"Version": 1.0}',
    }
    glue.create_crawler(Role=ROLE, Targets={"DeltaTargets": [delta]}, **wanted)
    kept = glue.get_crawler(Name=name)["Crawler"]
    assert_kept(kept, wanted)
    assert kept["Targets"].get("DeltaTargets") == [delta], "the targets differ"
    assert kept.get("State") == "READY", f"its state is {kept.get('State')}"


GROUPS = (databases, tables, table_versions, partitions, jobs)
