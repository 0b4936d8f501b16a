"""Modules that the local stacks lack, applied to moto, as far as it has their services.

moto refuses CodeBuild projects without a source location (those of a pipeline have none), cannot answer for
QuickSight in a way that Terraform understands, and does not check state machines: these stay with mocks.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest

moto_server = pytest.importorskip("moto.server")
from test_terraform import _environ, provider, terraform  # noqa: E402, F401 - the fixture is used by its name

from pipeline import terraform as tf  # noqa: E402

pytestmark = [pytest.mark.emulator, pytest.mark.timeout(600), pytest.mark.slow]

MODULES = Path(__file__).parents[2] / "terraform" / "modules"
SERVICES = ("ec2", "glue", "iam", "lakeformation", "s3", "sagemaker", "sts")
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
  skip_requesting_account_id  = true

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
    """A root module with all of them, applied. moto never forgets a removed endpoint, so it is left there."""
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
    groups = client(moto, "sagemaker").list_model_package_groups()["ModelPackageGroupSummaryList"]
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
