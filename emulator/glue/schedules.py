"""Schedules of triggers and crawlers: ``cron(...)``, as AWS writes it.

Six fields: minutes, hours, day of month, month, day of week, year; the week's days count from SUN = 1.
Source: AWS Glue's developer guide, "Time-based schedules for jobs and crawlers". croniter does the rest.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime

from croniter import CroniterError, croniter

from emulator.gateway.local import ServiceError

DAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
_CRON = re.compile(r"cron\(\s*(.*?)\s*\)")


class Schedule:
    """A schedule.

    Args:
        expression: ``cron(0 2 * * ? *)``.

    Raises:
        ServiceError: ``InvalidInputException``: it is none, or one that is not understood here.

    >>> Schedule("cron(15 12 ? * 2 *)").after(datetime(2026, 11, 25, tzinfo=UTC)).isoformat()
    '2026-11-30T12:15:00+00:00'
    """

    def __init__(self, expression: str) -> None:
        found = _CRON.fullmatch(expression.strip())
        fields = found[1].split() if found else []
        if len(fields) != 6:
            raise _wrong(expression, "it must be cron(minutes hours day-of-month month day-of-week year)")
        minutes, hours, day, month, weekday, year = fields
        if (day == "?") == (weekday == "?"):
            raise _wrong(expression, "one of day-of-month and day-of-week must be ?")
        if "W" in day.upper() or "L" in weekday.upper():
            raise _wrong(expression, "W, and L for days of the week, are not understood here")
        self._cron = f"{minutes} {hours} {day} {month} {_named(weekday)} 0 {year}"
        try:
            croniter(self._cron, datetime.now(UTC))
        except CroniterError as error:
            raise _wrong(expression, str(error)) from error

    def after(self, moment: datetime) -> datetime | None:
        """The first time after a moment; None if there is none any more."""
        try:
            found: datetime = croniter(self._cron, moment.astimezone(UTC)).get_next(datetime)
        except CroniterError:
            return None
        return found


def _named(weekday: str) -> str:
    """Days of the week by name: AWS counts from 1, cron from 0.

    >>> _named("2-6"), _named("6#3"), _named("MON,4")
    ('MON-FRI', 'FRI#3', 'MON,WED')
    """
    return re.sub(r"(?<![#/\d])[1-7](?!\d)", lambda found: DAYS[int(found[0]) - 1], weekday.upper())


def _wrong(expression: str, why: str) -> ServiceError:
    return ServiceError("InvalidInputException", f"The schedule {expression!r} is not valid: {why}")
