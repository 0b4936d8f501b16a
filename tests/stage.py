"""What the local stage of Terraform has made, or left behind."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def left_behind(client: Callable[[str], Any], name: str = "finlake") -> dict[str, list[str]]:
    """What is there of a stage, by kind.

    Args:
        client: Makes boto3's client of a service of the stack.
        name: What the stage's names contain.
    """
    s3, glue, iam, logs = (client(service) for service in ("s3", "glue", "iam", "logs"))
    found = {
        "buckets": [bucket["Name"] for bucket in s3.list_buckets()["Buckets"]],
        "databases": [database["Name"] for database in glue.get_databases()["DatabaseList"]],
        "jobs": [job["Name"] for job in glue.get_jobs()["Jobs"]],
        "crawlers": [crawler["Name"] for crawler in glue.get_crawlers()["Crawlers"]],
        "classifiers": [kind["CsvClassifier"]["Name"] for kind in glue.get_classifiers()["Classifiers"]],
        "triggers": [trigger["Name"] for trigger in glue.get_triggers()["Triggers"]],
        "workflows": glue.list_workflows()["Workflows"],
        "roles": [role["RoleName"] for role in iam.list_roles()["Roles"]],
        "policies": [policy["PolicyName"] for policy in iam.list_policies(Scope="Local")["Policies"]],
        "log groups": [group["logGroupName"] for group in logs.describe_log_groups()["logGroups"]],
    }
    named = {kind: sorted(item for item in names if name in item) for kind, names in found.items()}
    return {kind: names for kind, names in named.items() if names}
