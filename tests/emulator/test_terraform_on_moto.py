"""Modules that the local stage leaves out, or its stacks lack, applied to moto, where it has their services.

moto refuses CodeBuild projects without a source location (those of a pipeline have none), cannot answer for
QuickSight in a way that Terraform understands, does not check state machines, and wants a bucket for access
logs to be open for all prefixes: these stay with mocks. It knows no classifiers of Glue: that module is
applied to the local stacks.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
from botocore.exceptions import ClientError

moto_server = pytest.importorskip("moto.server")
from test_terraform import _environ, provider, terraform  # noqa: E402, F401 - the fixture is used by its name

from pipeline import terraform as tf  # noqa: E402

pytestmark = [pytest.mark.emulator, pytest.mark.timeout(600), pytest.mark.slow]

MODULES = Path(__file__).parents[2] / "terraform" / "modules"
SERVICES = (
    *("athena", "cloudwatch", "cloudwatchlogs", "ec2", "events", "glue", "iam", "kms", "lakeformation", "s3"),
    *("sagemaker", "sns", "sts"),
)
ACCOUNT = "123456789012"
ROOT = """
terraform {{
  required_providers {{
    aws = {{ source = "hashicorp/aws", version = "~> 5.100" }}
  }}
}}

provider "aws" {{
  region                      = "eu-central-1"
  access_key                  = "test"
  secret_key                  = "test"
  skip_credentials_validation = true
  skip_metadata_api_check     = true
  s3_use_path_style           = true
  max_retries                 = 2 # what moto lacks, it will not have later

  default_tags {{
    tags = {{ Project = "lake" }}
  }}

  endpoints {{
{endpoints}
  }}
}}

resource "aws_vpc" "this" {{
  cidr_block = "10.0.0.0/16"
}}

resource "aws_subnet" "this" {{
  vpc_id     = aws_vpc.this.id
  cidr_block = "10.0.1.0/24"
}}

resource "aws_route_table" "this" {{
  vpc_id = aws_vpc.this.id
}}

module "network" {{
  source          = "{modules}/network"
  name            = "lake"
  vpc_id          = aws_vpc.this.id
  subnet_ids      = [aws_subnet.this.id]
  route_table_ids = [aws_route_table.this.id]
  cidr_blocks     = ["10.0.0.0/16"]
  buckets         = ["lake-silver"]
  account_id      = "{account}"
  region          = "eu-central-1"
}}

resource "aws_glue_catalog_database" "this" {{
  for_each = toset(["silver", "gold"])
  name     = "lake_${{each.key}}"
}}

resource "aws_glue_catalog_table" "customers" {{
  name          = "customers"
  database_name = aws_glue_catalog_database.this["silver"].name

  storage_descriptor {{
    columns {{
      name = "email"
      type = "string"
    }}
  }}
}}

module "lake_formation" {{
  source      = "{modules}/lake_formation"
  name        = "lake"
  databases   = {{ for layer, database in aws_glue_catalog_database.this : layer => database.name }}
  buckets     = {{ silver = "lake-silver", gold = "lake-gold" }}
  tables      = {{ "silver/customers" = {{ email = "email" }} }}
  tag_columns = true
  account_id  = "{account}"
  depends_on  = [aws_glue_catalog_table.customers]
}}

module "sagemaker" {{
  source        = "{modules}/sagemaker"
  name          = "lake"
  buckets       = {{ gold = "lake-gold", athena = "lake-athena", scripts = "lake-scripts" }}
  database      = "lake_gold"
  workgroup     = "lake"
  code_path     = "{code}"
  image         = "492215442770.dkr.ecr.eu-central-1.amazonaws.com/sagemaker-scikit-learn:1.2-1-cpu-py3"
  state_machine = false
  account_id    = "{account}"
  region        = "eu-central-1"

  model_package_group = "lake-models"
}}

locals {{
  layers = ["bronze", "silver", "gold", "scripts", "athena"]
}}

module "kms" {{
  source           = "{modules}/kms"
  name             = "lake"
  log_group_prefix = "/aws-glue/jobs/lake"
  account_id       = "{account}"
  region           = "eu-central-1"
}}

module "s3" {{
  source        = "{modules}/s3"
  names         = {{ for layer in local.layers : layer => "lake-${{layer}}" }}
  force_destroy = true
  kms_key_arn   = module.kms.key_arn
  account_id    = "{account}"

  lifecycle_days = {{
    incomplete_uploads = 7
    noncurrent         = 90
    bronze_ia          = 60
    bronze_archive     = 180
  }}
}}

module "s3_public" {{
  source = "{modules}/s3_public"
  names  = {{ silver = "lake-public-silver", gold = "lake-public-gold" }}

  external_location = {{
    name        = "lake"
    account_id  = "{account}"
    external_id = "11111111-2222-3333-4444-555555555555"
  }}
}}

module "athena" {{
  source         = "{modules}/athena"
  name           = "lake"
  databases      = {{ gold = "lake_gold", ops = "lake_ops" }}
  results_bucket = "lake-athena"
  scan_limit_gib = 10
  kms_key_arn    = "arn:aws:kms:eu-central-1:{account}:key/11111111-2222-3333-4444-555555555555"
}}

resource "aws_cloudwatch_log_group" "this" {{
  for_each   = toset(["silver-customers/output", "gold/output"])
  name       = "/aws-glue/jobs/lake-${{each.key}}"
  kms_key_id = module.kms.key_arn
}}

module "monitoring" {{
  source       = "{modules}/monitoring"
  name         = "lake"
  jobs         = {{ silver-customers = "lake-silver-customers", gold = "lake-gold" }}
  log_groups   = {{ for job, group in aws_cloudwatch_log_group.this : job => group.name }}
  alarm_emails = ["ops@example.com"]
  kms_key_arn  = module.kms.key_arn
  account_id   = "{account}"
  region       = "eu-central-1"
}}

module "cicd" {{
  source                   = "{modules}/cicd"
  name                     = "lake"
  environment              = "prod"
  account_id               = "{account}"
  region                   = "eu-central-1"
  state_bucket             = "lake-state"
  github                   = {{ repository = "bank/lake" }}
  permissions_boundary_arn = "arn:aws:iam::{account}:policy/lake-boundary"
}}
"""


@pytest.fixture(scope="module")
def moto() -> Iterator[str]:
    server = moto_server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(scope="module")
def root(
    moto: str,
    provider: tf.ProviderSource,  # noqa: F811
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """A root module with all of them, applied."""
    folder = tmp_path_factory.mktemp("moto")
    endpoints = "\n".join(f'    {service} = "{moto}"' for service in SERVICES)
    (folder / "main.tf").write_text(
        ROOT.format(endpoints=endpoints, modules=MODULES, account=ACCOUNT, code=MODULES.parents[1] / "ml")
    )
    mirror = [f"-plugin-dir={provider.folder}"] if provider.folder else []
    for command in (["init", *mirror], ["apply", "-auto-approve"]):
        done = terraform(folder, command[0], "-input=false", "-no-color", *command[1:])
        assert done.returncode == 0, done.stdout + done.stderr
    return folder


def client(moto: str, service: str):
    keys = {"aws_access_key_id": "test", "aws_secret_access_key": "test"}
    return boto3.client(service, endpoint_url=moto, region_name="eu-central-1", **keys)


def test_a_column_with_personal_data_carries_its_tag(root: Path, moto: str) -> None:
    table = {
        "TableWithColumns": {"DatabaseName": "lake_silver", "Name": "customers", "ColumnNames": ["email"]}
    }
    found = client(moto, "lakeformation").get_resource_lf_tags(Resource=table)
    (column,) = found["LFTagsOnColumns"]
    assert column["Name"] == "email"
    assert [(tag["TagKey"], tag["TagValues"]) for tag in column["LFTags"]] == [("lake-pii", ["email"])]


def test_models_have_a_registry_and_training_a_role(root: Path, moto: str) -> None:
    # Other tests of the same process may have registered models, and moto keeps them for all.
    listed = client(moto, "sagemaker").list_model_package_groups(NameContains="lake-")
    groups = listed["ModelPackageGroupSummaryList"]
    assert [group["ModelPackageGroupName"] for group in groups] == ["lake-models"]
    role = client(moto, "iam").get_role(RoleName="lake-training")["Role"]
    assert role["AssumeRolePolicyDocument"]["Statement"][0]["Principal"] == {
        "Service": "sagemaker.amazonaws.com"
    }


def test_the_network_leads_to_three_services(root: Path, moto: str) -> None:
    endpoints = client(moto, "ec2").describe_vpc_endpoints()["VpcEndpoints"]
    names = sorted(endpoint["ServiceName"].split(".")[-1] for endpoint in endpoints)
    assert names == ["glue", "logs", "s3"]


def test_deliveries_have_policies_that_iam_accepts(root: Path, moto: str) -> None:
    iam = client(moto, "iam")
    policies = {policy["PolicyName"] for policy in iam.list_policies(Scope="Local")["Policies"]}
    assert policies == {
        f"delivery-lake-{role}-{part}" for role in ("plan", "apply") for part in ("data", "control")
    }


def test_alarms_reach_a_topic_and_say_what_they_watch(root: Path, moto: str) -> None:
    (topic,) = client(moto, "sns").list_topics()["Topics"]
    alarms = {
        alarm["AlarmName"]: alarm for alarm in client(moto, "cloudwatch").describe_alarms()["MetricAlarms"]
    }
    assert set(alarms) == {"lake-quarantine-customers", "lake-gold-stale"}
    assert {action for alarm in alarms.values() for action in alarm["AlarmActions"]} == {topic["TopicArn"]}
    (target,) = client(moto, "events").list_targets_by_rule(Rule="lake-job-failed")["Targets"]
    assert target["Arn"] == topic["TopicArn"]
    filters = client(moto, "logs").describe_metric_filters()["metricFilters"]
    assert {found["logGroupName"] for found in filters} == {
        f"/aws-glue/jobs/lake-{job}/output" for job in ("silver-customers", "gold")
    }


def test_the_workgroup_limits_and_encrypts(root: Path, moto: str) -> None:
    athena = client(moto, "athena")
    configuration = athena.get_work_group(WorkGroup="lake")["WorkGroup"]["Configuration"]
    assert configuration["EnforceWorkGroupConfiguration"]
    assert configuration["BytesScannedCutoffPerQuery"] == 10 * 1024**3
    assert configuration["ResultConfiguration"]["EncryptionConfiguration"]["EncryptionOption"] == "SSE_KMS"
    assert len(athena.list_named_queries(WorkGroup="lake")["NamedQueryIds"]) == 3


def test_buckets_are_encrypted_cleaned_up_and_refuse_requests_without_tls(root: Path, moto: str) -> None:
    s3, kms = client(moto, "s3"), client(moto, "kms")
    aliases = {alias["AliasName"]: alias.get("TargetKeyId") for alias in kms.list_aliases()["Aliases"]}
    for layer in ("bronze", "silver", "gold", "scripts", "athena"):
        bucket = f"lake-{layer}"
        (rule,) = s3.get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"]["Rules"]
        assert rule["ApplyServerSideEncryptionByDefault"]["KMSMasterKeyID"].endswith(aliases["alias/lake"])
        rules = {rule["ID"] for rule in s3.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"]}
        assert ("clean-up" in rules, "archive" in rules) == (True, layer == "bronze")
        with pytest.raises(ClientError, match="Forbidden"):
            s3.put_object(Bucket=bucket, Key="a", Body=b"data")


def test_a_second_plan_shows_no_change_but_what_moto_forgets(root: Path) -> None:
    done = terraform(root, "plan", "-input=false", "-no-color", "-out=second.tfplan")
    assert done.returncode == 0, done.stdout + done.stderr
    shown = json.loads(terraform(root, "show", "-json", "second.tfplan").stdout)
    changed = {
        f"{resource['type']}.{name}"
        for resource in shown["resource_changes"]
        for name, value in (resource["change"]["after"] or {}).items()
        if (resource["change"]["before"] or {}).get(name) != value
    }
    assert changed == {"aws_lakeformation_resource.hybrid_access_enabled"}


def test_what_moto_can_forget_is_removed_without_a_trace(root: Path, moto: str) -> None:
    """It knows no deletion of endpoints, named queries and groups of models."""
    modules = ("cicd", "kms", "lake_formation", "monitoring", "s3", "s3_public")
    targets = [f"-target=module.{module}" for module in modules]
    done = terraform(root, "destroy", "-auto-approve", "-input=false", "-no-color", *targets)
    assert done.returncode == 0, done.stdout + done.stderr
    iam = client(moto, "iam")
    left = {
        "buckets": client(moto, "s3").list_buckets()["Buckets"],
        "aliases": [a for a in client(moto, "kms").list_aliases()["Aliases"] if "lake" in a["AliasName"]],
        "alarms": client(moto, "cloudwatch").describe_alarms()["MetricAlarms"],
        "dashboards": client(moto, "cloudwatch").list_dashboards()["DashboardEntries"],
        "topics": client(moto, "sns").list_topics()["Topics"],
        "rules": client(moto, "events").list_rules()["Rules"],
        "log groups": client(moto, "logs").describe_log_groups()["logGroups"],
        "tags": client(moto, "lakeformation").list_lf_tags()["LFTags"],
        "policies": iam.list_policies(Scope="Local")["Policies"],
        "roles": [r for r in iam.list_roles()["Roles"] if not r["RoleName"].startswith("lake-training")],
        "identities": iam.list_open_id_connect_providers()["OpenIDConnectProviderList"],
    }
    assert {kind: found for kind, found in left.items() if found} == {}
