"""The native stack's AWS, writing down each request's IAM action, resource, and whether it was allowed.

It takes the place of ``emulator.server`` in test_least_privilege.py. MiniStack works out the action itself,
as it checks policies (``AUTH=true``); this only looks on.
"""

from __future__ import annotations

import json
import os
import runpy
from pathlib import Path
from typing import Any

from ministack.core import iam_evaluator

RECORD = Path(os.environ["FINLAKE_TEST_RECORD"])
decide = iam_evaluator.enforce


def enforce(
    access_key_id: str, iam_action: str, service: str, region: str, resource_arn: str = "*", **context: Any
) -> object:
    if iam_action == "glue:GetDatabase":  # MiniStack takes the database's name for a table's
        resource_arn = resource_arn.replace(":table/", ":database/")
    denied = decide(access_key_id, iam_action, service, region, resource_arn, **context)
    row = {"key": access_key_id, "action": iam_action, "resource": resource_arn, "allowed": denied is None}
    with RECORD.open("a", encoding="utf-8") as record:
        record.write(json.dumps(row) + "\n")
    return denied


iam_evaluator.enforce = enforce

if __name__ == "__main__":
    runpy.run_module("emulator.server", run_name="__main__", alter_sys=True)
