"""All checks, in the order of the tables."""

from __future__ import annotations

import checks_glue
import checks_s3
import checks_services

GROUPS = (*checks_s3.GROUPS, *checks_glue.GROUPS, *checks_services.GROUPS)
CHECKS = tuple(check for group in GROUPS for check in group.checks)
