"""Glue's workflows and triggers: what starts when, what follows what, and when a run is over."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
from glue_stack import BUCKET, ROLE, Glue, code, glue_stack, wait

pytestmark = pytest.mark.emulator

GOOD, BAD = "print('good')", "raise ValueError('bad')"


@pytest.fixture(scope="module")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Glue]:
    with glue_stack(tmp_path_factory.mktemp("glue")) as stack:
        yield stack


def fresh(what: str) -> str:
    return f"{what}-{uuid4().hex[:8]}"


def workflow(aws: Glue, *starts: str, **more: Any) -> str:
    """A workflow that starts with these jobs, on demand."""
    name = fresh("workflow")
    aws.glue.create_workflow(Name=name, **more)
    aws.glue.create_trigger(
        Name=f"{name}-start",
        WorkflowName=name,
        Type="ON_DEMAND",
        Actions=[{"JobName": job} for job in starts],
    )
    return name


def after(aws: Glue, flow: str, conditions: dict[str, str], job: str, logical: str = "AND") -> str:
    """A trigger that starts a job when others have ended in these states."""
    name = fresh("trigger")
    aws.glue.create_trigger(
        Name=name,
        **({"WorkflowName": flow} if flow else {}),
        Type="CONDITIONAL",
        StartOnCreation=True,
        Predicate={
            "Logical": logical,
            "Conditions": [
                {"LogicalOperator": "EQUALS", "JobName": other, "State": state}
                for other, state in conditions.items()
            ],
        },
        Actions=[{"JobName": job}],
    )
    return name


def run(aws: Glue, flow: str) -> dict[str, Any]:
    """Run a workflow to its end."""
    identity = aws.glue.start_workflow_run(Name=flow)["RunId"]
    return wait(
        lambda: aws.glue.get_workflow_run(Name=flow, RunId=identity, IncludeGraph=True)["Run"],
        lambda run: run["Status"] not in ("RUNNING", "STOPPING"),
        60,
    )


def states(aws: Glue, *jobs: str) -> list[list[str]]:
    return [[one["JobRunState"] for one in aws.glue.get_job_runs(JobName=job)["JobRuns"]] for job in jobs]


def test_jobs_follow_each_other_when_all_before_have_succeeded(aws: Glue) -> None:
    one, two, three = (aws.job(GOOD) for _ in range(3))
    flow = workflow(aws, one, two)
    after(aws, flow, {one: "SUCCEEDED", two: "SUCCEEDED"}, three)
    done = run(aws, flow)
    assert done["Status"] == "COMPLETED", done
    assert done["Statistics"] == {
        "TotalActions": 3, "SucceededActions": 3, "FailedActions": 0, "StoppedActions": 0,
        "TimeoutActions": 0, "RunningActions": 0, "ErroredActions": 0, "WaitingActions": 0,
    }  # fmt: skip
    (last,) = aws.glue.get_job_runs(JobName=three)["JobRuns"]
    assert {before["JobName"] for before in last["PredecessorRuns"]} == {one, two}
    nodes = {node["UniqueId"]: node for node in done["Graph"]["Nodes"]}
    kinds = sorted(node["Type"] for node in nodes.values())
    assert kinds == ["JOB", "JOB", "JOB", "TRIGGER", "TRIGGER"]
    assert nodes[f"job_{three}"]["JobDetails"]["JobRuns"][0]["JobRunState"] == "SUCCEEDED"
    assert len(done["Graph"]["Edges"]) == 5
    assert aws.glue.get_workflow(Name=flow)["Workflow"]["LastRun"]["WorkflowRunId"] == done["WorkflowRunId"]


def test_nothing_follows_a_job_that_failed_unless_a_trigger_waits_for_that(aws: Glue) -> None:
    good, bad, never, mourner = aws.job(GOOD), aws.job(BAD), aws.job(GOOD), aws.job(GOOD)
    flow = workflow(aws, good, bad)
    after(aws, flow, {good: "SUCCEEDED", bad: "SUCCEEDED"}, never)
    after(aws, flow, {bad: "FAILED"}, mourner)
    done = run(aws, flow)
    assert done["Status"] == "COMPLETED"
    assert (done["Statistics"]["FailedActions"], done["Statistics"]["SucceededActions"]) == (1, 2)
    assert states(aws, never, mourner) == [[], ["SUCCEEDED"]]


def test_any_of_several_is_enough_and_fires_once(aws: Glue) -> None:
    one, two, three = (aws.job(GOOD) for _ in range(3))
    flow = workflow(aws, one, two)
    after(aws, flow, {one: "SUCCEEDED", two: "SUCCEEDED"}, three, "ANY")
    assert run(aws, flow)["Statistics"]["TotalActions"] == 3
    assert states(aws, three) == [["SUCCEEDED"]]


def test_a_job_that_is_tried_again_counts_by_its_last_try(aws: Glue) -> None:
    flaky = aws.job(
        "import sys\nif '_attempt_' not in sys.argv[sys.argv.index('--JOB_RUN_ID') + 1]: exit(1)",
        MaxRetries=1,
    )
    last = aws.job(GOOD)
    flow = workflow(aws, flaky)
    after(aws, flow, {flaky: "SUCCEEDED"}, last)
    assert run(aws, flow)["Statistics"]["SucceededActions"] == 2
    assert states(aws, flaky, last) == [["SUCCEEDED", "FAILED"], ["SUCCEEDED"]]


def test_a_run_is_stopped_and_nothing_follows(aws: Glue) -> None:
    hangs, never = aws.job("import time; time.sleep(3600)"), aws.job(GOOD)
    flow = workflow(aws, hangs, MaxConcurrentRuns=1)
    after(aws, flow, {hangs: "STOPPED"}, never)
    identity = aws.glue.start_workflow_run(Name=flow, RunProperties={"day": "1"})["RunId"]
    assert code(aws.glue.start_workflow_run, Name=flow) == "ConcurrentRunsExceededException"
    where = {"Name": flow, "RunId": identity}
    assert aws.glue.get_workflow_run_properties(**where)["RunProperties"] == {"day": "1"}
    aws.glue.stop_workflow_run(**where)
    done = wait(lambda: aws.glue.get_workflow_run(**where)["Run"], lambda run: run["Status"] != "STOPPING")
    assert done["Status"] == "STOPPED"
    assert states(aws, hangs, never) == [["STOPPED"], []]
    assert code(aws.glue.stop_workflow_run, **where) == "IllegalWorkflowStateException"


def test_a_script_knows_its_workflow(aws: Glue) -> None:
    job = aws.job("import sys\nprint(sys.argv[1:])")
    done = run(aws, flow := workflow(aws, job))
    (ran,) = aws.glue.get_job_runs(JobName=job)["JobRuns"]
    said = aws.said(ran)
    assert f"'--WORKFLOW_NAME', '{flow}'" in said
    assert f"'--WORKFLOW_RUN_ID', '{done['WorkflowRunId']}'" in said


def test_a_workflow_crawls_and_goes_on_after_it(aws: Glue) -> None:
    aws.put("flow/people/a.csv", "id,name\n1,Anna\n")
    database, name, job = fresh("db"), fresh("crawler"), aws.job(GOOD)
    aws.glue.create_database(DatabaseInput={"Name": database})
    targets = {"S3Targets": [{"Path": f"s3://{BUCKET}/flow/people/"}]}
    aws.glue.create_crawler(Name=name, Role=ROLE, DatabaseName=database, Targets=targets)
    flow = fresh("workflow")
    aws.glue.create_workflow(Name=flow)
    aws.glue.create_trigger(
        Name=fresh("trigger"), WorkflowName=flow, Type="ON_DEMAND", Actions=[{"CrawlerName": name}]
    )
    conditions = [{"LogicalOperator": "EQUALS", "CrawlerName": name, "CrawlState": "SUCCEEDED"}]
    aws.glue.create_trigger(
        Name=fresh("trigger"), WorkflowName=flow, Type="CONDITIONAL", StartOnCreation=True,
        Predicate={"Conditions": conditions}, Actions=[{"JobName": job}],
    )  # fmt: skip
    assert run(aws, flow)["Statistics"]["SucceededActions"] == 2
    assert aws.glue.get_table(DatabaseName=database, Name="people")


def test_a_trigger_alone_starts_a_job_and_another_follows(aws: Glue) -> None:
    one, two = aws.job(GOOD), aws.job(GOOD)
    start = fresh("trigger")
    aws.glue.create_trigger(
        Name=start, Type="ON_DEMAND", Actions=[{"JobName": one, "Arguments": {"--day": "7"}}]
    )
    after(aws, "", {one: "SUCCEEDED"}, two)
    by_hand = aws.start(one)
    aws.ended(one, by_hand)
    assert states(aws, two) == [[]], "runs that no trigger has started make none fire"
    aws.glue.start_trigger(Name=start)
    wait(lambda: states(aws, two), lambda found: found == [["SUCCEEDED"]])
    newest = aws.glue.get_job_runs(JobName=one)["JobRuns"][0]
    assert (newest["TriggerName"], newest["Arguments"]) == (start, {"--day": "7"})


def test_a_trigger_that_is_stopped_does_not_fire(aws: Glue) -> None:
    one, never = aws.job(GOOD), aws.job(GOOD)
    flow = workflow(aws, one)
    aws.glue.stop_trigger(Name=after(aws, flow, {one: "SUCCEEDED"}, never))
    assert run(aws, flow)["Statistics"]["TotalActions"] == 1
    assert states(aws, never) == [[]]


@pytest.mark.parametrize(
    "schedule",
    [
        "",
        "rate(5 minutes)",
        "cron(0 2 * * *)",
        "cron(0 2 * * * *)",
        "cron(0 2 ? * 6L *)",
        "cron(99 2 ? * * *)",
    ],
)
def test_a_schedule_that_is_none_is_refused(aws: Glue, schedule: str) -> None:
    trigger = {
        "Name": fresh("trigger"),
        "Type": "SCHEDULED",
        "Schedule": schedule,
        "Actions": [{"JobName": "x"}],
    }
    assert code(aws.glue.create_trigger, **trigger) == "InvalidInputException"
    assert code(aws.glue.get_trigger, Name=trigger["Name"]) == "EntityNotFoundException"


def test_an_action_that_cannot_start_is_an_error_of_the_run(aws: Glue) -> None:
    done = run(aws, workflow(aws, "no-such-job"))
    assert done["Status"] == "ERROR"
    assert done["Statistics"]["ErroredActions"] == 1
    assert "no-such-job" in done["ErrorMessage"]


def test_what_is_not_there_is_told_by_aws_names(aws: Glue) -> None:
    assert code(aws.glue.start_workflow_run, Name="none") == "EntityNotFoundException"
    name = fresh("workflow")
    aws.glue.create_workflow(Name=name)
    assert code(aws.glue.start_workflow_run, Name=name) == "InvalidInputException"
    assert code(aws.glue.get_workflow_run, Name=name, RunId="wr_none") == "EntityNotFoundException"
    assert name in aws.glue.list_workflows(MaxResults=25)["Workflows"]


def test_a_trigger_reads_back_as_it_was_written(aws: Glue) -> None:
    name = after(aws, "", {"one": "SUCCEEDED", "two": "FAILED"}, "three")
    trigger = aws.glue.get_trigger(Name=name)["Trigger"]
    assert trigger["State"] == "ACTIVATED"
    assert trigger["Predicate"]["Logical"] == "AND"
    assert [one["State"] for one in trigger["Predicate"]["Conditions"]] == ["SUCCEEDED", "FAILED"]
    assert trigger["Actions"] == [{"JobName": "three"}]
    assert not {"Schedule", "Description"} & set(trigger)
