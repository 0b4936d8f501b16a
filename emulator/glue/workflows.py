"""Triggers and runs of workflows: what starts when, and what follows what.

A trigger fires on demand, by the clock, or when the runs that it watches have ended as it says. As on AWS,
only runs that a trigger has started make another one fire. Runs that belong to a run of a workflow are
watched within it; those of triggers without a workflow, all together.
"""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from botocore.exceptions import ClientError

from emulator.gateway.local import Context, ServiceError
from emulator.glue.clients import code_of
from emulator.glue.definitions import CRAWLER, TRIGGER, WORKFLOW, Definitions
from emulator.glue.jobs import GOING, Jobs, context_of_scope, is_going, scope_of, shown
from emulator.glue.jobs import RUN as JOB_RUN
from emulator.glue.paging import page
from emulator.glue.schedules import Schedule
from emulator.store import Store

RUN = "workflow-run"
MEMORY = "trigger-memory"
SCHEDULE = "schedule"
TICK_SECONDS = 0.5
ENDED = frozenset({"COMPLETED", "STOPPED", "ERROR"})
CRAWL_STATES = {"RUNNING": "RUNNING", "COMPLETED": "SUCCEEDED", "FAILED": "FAILED", "STOPPED": "CANCELLED"}

logger = logging.getLogger(__name__)
# Starts a crawler; its id in the history of crawls comes back.
StartCrawl = Callable[[Context, str, str, str], str]
StopCrawl = Callable[[Context, dict[str, Any]], dict[str, Any]]
Crawls = Callable[[Context, str], list[dict[str, Any]]]


class Workflows:
    """Fires triggers and keeps runs of workflows.

    Args:
        definitions: Triggers and workflows.
        jobs: Starts jobs.
        store: Keeps runs.
        start_crawl: Starts a crawler for a workflow's run.
        stop_crawl: Stops a crawler.
        crawls: All crawls of a crawler.
    """

    def __init__(
        self,
        definitions: Definitions,
        jobs: Jobs,
        store: Store,
        *,
        start_crawl: StartCrawl,
        stop_crawl: StopCrawl,
        crawls: Crawls,
    ) -> None:
        self._definitions = definitions
        self._jobs = jobs
        self._store = store
        self._start_crawl = start_crawl
        self._stop_crawl = stop_crawl
        self._crawls = crawls
        self._lock = threading.RLock()
        self._closing = threading.Event()
        self._clock = threading.Thread(target=self._watch_the_clock, daemon=True)
        self._due: dict[tuple[str, str, str], datetime | None] = {}

    def open(self) -> None:
        """Begin with schedules; runs of before can only be told to have been stopped."""
        for scope, name, identity, run in self._store.rows(RUN):
            if run["Status"] not in ENDED:
                message = "The gateway was stopped during this run"
                run |= {"Status": "STOPPED", "CompletedOn": time.time(), "ErrorMessage": message}
                self._store.put(RUN, scope, name, identity, run)
        self._clock.start()

    def close(self) -> None:
        """End schedules; nothing fires any more."""
        self._closing.set()
        if self._clock.is_alive():
            self._clock.join()

    # --- triggers ------------------------------------------------------------------------------------

    def create_trigger(self, context: Context, request: dict[str, Any]) -> dict[str, Any]:
        """``CreateTrigger``."""
        check_trigger(request)
        answer = self._definitions.create(TRIGGER, context, request)
        self._reschedule(context, request["Name"])
        return answer

    def update_trigger(self, context: Context, request: dict[str, Any]) -> dict[str, Any]:
        """``UpdateTrigger``."""
        before = self._definitions.get(TRIGGER, context, str(request.get("Name")))
        check_trigger({**before, **request.get("TriggerUpdate", {})})
        self._definitions.update(TRIGGER, context, request)
        self._reschedule(context, request["Name"])
        return {"Trigger": self._definitions.get(TRIGGER, context, request["Name"])}

    def delete_trigger(self, context: Context, request: dict[str, Any]) -> dict[str, Any]:
        """``DeleteTrigger``."""
        answer = self._definitions.delete(TRIGGER, context, request)
        self._unschedule(context, TRIGGER.name, request["Name"])
        self._store.delete(MEMORY, scope_of(context), request["Name"])
        return answer

    def start_trigger(self, context: Context, request: dict[str, Any]) -> dict[str, Any]:
        """``StartTrigger``: one on demand fires, others wait for what they watch from now on."""
        trigger = self._definitions.get(TRIGGER, context, str(request.get("Name") or ""))
        if trigger["Type"] == "ON_DEMAND":
            self._fire_start(context, trigger)
        else:
            self._definitions._call(context, "start_trigger", {"Name": trigger["Name"]})
            self._reschedule(context, trigger["Name"])
        return {"Name": trigger["Name"]}

    def stop_trigger(self, context: Context, request: dict[str, Any]) -> dict[str, Any]:
        """``StopTrigger``."""
        trigger = self._definitions.get(TRIGGER, context, str(request.get("Name") or ""))
        self._definitions._call(context, "stop_trigger", {"Name": trigger["Name"]})
        self._unschedule(context, TRIGGER.name, trigger["Name"])
        return {"Name": trigger["Name"]}

    # --- runs of workflows ---------------------------------------------------------------------------

    def start(self, context: Context, request: dict[str, Any]) -> dict[str, Any]:
        """``StartWorkflowRun``: fires the workflow's first trigger."""
        name = str(request.get("Name") or "")
        starts = [one for one in self._triggers(context, name) if one["Type"] != "CONDITIONAL"]
        self._definitions.get(WORKFLOW, context, name)
        if not starts:
            raise ServiceError("InvalidInputException", f"The workflow {name} has no trigger that starts it")
        return {"RunId": self._start(context, starts[0], request.get("RunProperties") or {})}

    def stop(self, context: Context, request: dict[str, Any]) -> dict[str, Any]:
        """``StopWorkflowRun``: stops what is running; nothing follows."""
        with self._lock:
            run = self._run(context, request)
            if run["Status"] != "RUNNING":
                raise ServiceError("IllegalWorkflowStateException", f"The run is {run['Status']}")
            run["Status"] = "STOPPING"
            self._keep(context, run)
            for action in run["_actions"]:
                if action.get("JobName") and "_run" in action:
                    self._stop_job(context, action)
                elif "_run" in action:
                    with suppress(ServiceError):  # it has ended
                        self._stop_crawl(context, {"Name": action["CrawlerName"]})
            self._settle(context, run)
        return {}

    def _stop_job(self, context: Context, action: Mapping[str, Any]) -> None:
        tries = self._store.all(JOB_RUN, scope_of(context), action["JobName"])
        going = [one["Id"] for one in tries if is_going(one) and is_try_of(one["Id"], action["_run"])]
        self._jobs.stop(context, action["JobName"], going)

    def get_run(self, context: Context, request: dict[str, Any]) -> dict[str, Any]:
        """``GetWorkflowRun``."""
        return {"Run": self._shown(context, self._run(context, request), request.get("IncludeGraph"))}

    def get_runs(self, context: Context, request: dict[str, Any]) -> dict[str, Any]:
        """``GetWorkflowRuns``, the newest first."""
        name = str(request.get("Name") or "")
        self._definitions.get(WORKFLOW, context, name)
        runs = self._store.all(RUN, scope_of(context), name)
        listed = page("Runs", list(reversed(runs)), request)
        graph = request.get("IncludeGraph")
        return listed | {"Runs": [self._shown(context, run, graph) for run in listed["Runs"]]}

    def properties(self, context: Context, request: dict[str, Any]) -> dict[str, Any]:
        """``GetWorkflowRunProperties``."""
        return {"RunProperties": self._run(context, request)["WorkflowRunProperties"]}

    def put_properties(self, context: Context, request: dict[str, Any]) -> dict[str, Any]:
        """``PutWorkflowRunProperties``."""
        with self._lock:
            run = self._run(context, request)
            run["WorkflowRunProperties"] |= request.get("RunProperties") or {}
            self._keep(context, run)
        return {}

    def get_workflow(self, context: Context, request: dict[str, Any]) -> dict[str, Any]:
        """``GetWorkflow`` with its last run, and its graph if asked for."""
        name = str(request.get("Name") or "")
        workflow = self._definitions.get(WORKFLOW, context, name)
        runs = self._store.all(RUN, scope_of(context), name)
        if runs:
            workflow["LastRun"] = self._shown(context, runs[-1], request.get("IncludeGraph"))
        if request.get("IncludeGraph"):
            workflow["Graph"] = graph(self._triggers(context, name))
        return {"Workflow": workflow}

    def delete_workflow(self, context: Context, request: dict[str, Any]) -> dict[str, Any]:
        """``DeleteWorkflow``, with its runs."""
        answer = self._definitions.delete(WORKFLOW, context, request)
        self._store.delete(RUN, scope_of(context), request["Name"])
        return answer

    # --- what follows what ---------------------------------------------------------------------------

    def job_ended(self, context: Context, run: Mapping[str, Any]) -> None:
        """A run of a job has ended: fire what waits for it."""
        event = {"JobName": run["JobName"], "State": run["JobRunState"], "RunId": run["Id"]}
        self._follow(
            context, event, run.get("WorkflowName"), run.get("WorkflowRunId"), run.get("TriggerName")
        )

    def crawl_ended(self, context: Context, crawl: Mapping[str, Any]) -> None:
        """A crawl has ended: fire what waits for it."""
        state = CRAWL_STATES.get(crawl["State"], crawl["State"])
        event = {"CrawlerName": crawl["CrawlerName"], "CrawlState": state, "RunId": crawl["CrawlId"]}
        self._follow(
            context, event, crawl.get("_workflow"), crawl.get("_workflow_run"), crawl.get("_trigger")
        )

    def _follow(
        self,
        context: Context,
        event: dict[str, Any],
        workflow: str | None,
        workflow_run: str | None,
        trigger: str | None,
    ) -> None:
        if self._closing.is_set() or not trigger:
            return
        with self._lock:
            if workflow and workflow_run:
                run = self._store.get(RUN, scope_of(context), workflow, workflow_run)
                if run is None:
                    return
                run["_events"].append(event)
                if run["Status"] == "RUNNING":
                    for follower in self._triggers(context, workflow):
                        if follower["Name"] not in run["_fired"] and fires(follower, run["_events"]):
                            self._act(context, follower, run, run["_events"])
                self._settle(context, run)
                return
            for follower in self._definitions.all(TRIGGER, context):
                if follower.get("WorkflowName") or not watches(follower, event):
                    continue
                memory = self._store.get(MEMORY, scope_of(context), follower["Name"]) or {"events": []}
                memory["events"].append(event)
                if fires(follower, memory["events"]):
                    self._act(context, follower, None, memory["events"])
                    memory["events"] = []
                self._store.put(MEMORY, scope_of(context), follower["Name"], "", memory)

    def _fire_start(self, context: Context, trigger: dict[str, Any]) -> None:
        if trigger.get("WorkflowName"):
            self._start(context, trigger, {})
        else:
            errors = self._act(context, trigger, None, [])
            if errors:
                raise errors[0]

    def _start(self, context: Context, trigger: dict[str, Any], properties: Mapping[str, str]) -> str:
        name = str(trigger["WorkflowName"])
        workflow = self._definitions.get(WORKFLOW, context, name)
        with self._lock:
            most = int(workflow.get("MaxConcurrentRuns") or 0)
            going = [
                run for run in self._store.all(RUN, scope_of(context), name) if run["Status"] not in ENDED
            ]
            if most and len(going) >= most:
                raise ServiceError(
                    "ConcurrentRunsExceededException",
                    f"Concurrent runs exceeded for the workflow {name}: {len(going)} of {most}",
                )
            run: dict[str, Any] = {
                "Name": name,
                "WorkflowRunId": f"wr_{uuid.uuid4().hex}{uuid.uuid4().hex}",
                "WorkflowRunProperties": {**(workflow.get("DefaultRunProperties") or {}), **properties},
                "StartedOn": time.time(),
                "Status": "RUNNING",
                "StartingEventBatchCondition": None,
                "_actions": [],
                "_events": [],
                "_fired": [],
            }
            if going and (previous := going[-1]["WorkflowRunId"]):
                run["PreviousRunId"] = previous
            self._keep(context, run)
            self._act(context, trigger, run, [])
            self._settle(context, run)
        return str(run["WorkflowRunId"])

    def _act(
        self,
        context: Context,
        trigger: dict[str, Any],
        run: dict[str, Any] | None,
        events: Sequence[Mapping[str, Any]],
    ) -> list[ServiceError]:
        """Do what a trigger does; an action that cannot be started is kept as such."""
        errors: list[ServiceError] = []
        more = {"TriggerName": trigger["Name"]}
        if run:
            run["_fired"].append(trigger["Name"])
            more |= {"WorkflowName": run["Name"], "WorkflowRunId": run["WorkflowRunId"]}
        before = [
            {"JobName": event["JobName"], "RunId": event["RunId"]}
            for event in events
            if "JobName" in event and watches(trigger, event)
        ]
        for action in trigger.get("Actions") or ():
            done: dict[str, Any] = {"_trigger": trigger["Name"]}
            try:
                if action.get("JobName"):
                    done["JobName"] = action["JobName"]
                    started = self._jobs.start(context, action, **more, PredecessorRuns=before)
                    done["_run"] = started["Id"]
                elif action.get("CrawlerName"):
                    done["CrawlerName"] = action["CrawlerName"]
                    where = (run["Name"], run["WorkflowRunId"]) if run else ("", "")
                    done["_run"] = self._start_crawl(
                        context, action["CrawlerName"], trigger["Name"], "/".join(where)
                    )
            except (ServiceError, ClientError) as error:
                logger.error("the trigger %s could not start %s: %s", trigger["Name"], action, error)
                done["_error"] = str(error)
                code = error.code if isinstance(error, ServiceError) else code_of(error)
                errors.append(ServiceError(code, str(error)))
            if run:
                run["_actions"].append(done)
        if run:
            self._keep(context, run)
        return errors

    def _settle(self, context: Context, run: dict[str, Any]) -> None:
        """End a run of whose actions all have ended, and been followed."""
        if all_told(run["_actions"], run["_events"]) and run["Status"] not in ENDED:
            errors = [action["_error"] for action in run["_actions"] if "_error" in action]
            status = "STOPPED" if run["Status"] == "STOPPING" else "ERROR" if errors else "COMPLETED"
            run |= {"Status": status, "CompletedOn": time.time()}
            if errors:
                run["ErrorMessage"] = "; ".join(errors)
        self._keep(context, run)

    # --- what is shown -------------------------------------------------------------------------------

    def _states(
        self, context: Context, run: Mapping[str, Any]
    ) -> list[tuple[Mapping[str, Any], str, list[dict[str, Any]]]]:
        """Each action of a run, its state, and its runs: a job's with all its attempts."""
        found: list[tuple[Mapping[str, Any], str, list[dict[str, Any]]]] = []
        for action in run["_actions"]:
            if "_error" in action:
                found.append((action, "ERROR", []))
            elif "JobName" in action:
                first = action["_run"]
                tries = [
                    one
                    for one in self._store.all(JOB_RUN, scope_of(context), action["JobName"])
                    if is_try_of(one["Id"], first)
                ]
                found.append((action, tries[-1]["JobRunState"] if tries else "STOPPED", tries))
            else:
                crawls = [
                    crawl
                    for crawl in self._crawls(context, action["CrawlerName"])
                    if crawl["CrawlId"] == action["_run"]
                ]
                state = CRAWL_STATES.get(crawls[-1]["State"], "STOPPED") if crawls else "STOPPED"
                found.append((action, state, crawls))
        return found

    def _shown(self, context: Context, run: Mapping[str, Any], with_graph: object) -> dict[str, Any]:
        states = self._states(context, run)
        seen = {key: value for key, value in run.items() if not key.startswith("_") and value is not None}
        seen["Statistics"] = statistics([state for _, state, _ in states])
        if with_graph:
            seen["Graph"] = graph(self._triggers(context, run["Name"]), states)
        return seen

    def _triggers(self, context: Context, workflow: str) -> list[dict[str, Any]]:
        return [one for one in self._definitions.all(TRIGGER, context) if one.get("WorkflowName") == workflow]

    def _run(self, context: Context, request: Mapping[str, Any]) -> dict[str, Any]:
        name, identity = str(request.get("Name") or ""), str(request.get("RunId") or "")
        run = self._store.get(RUN, scope_of(context), name, identity)
        if run is None:
            self._definitions.get(WORKFLOW, context, name)
            raise ServiceError("EntityNotFoundException", f"Run {identity} of the workflow {name} not found")
        return run

    def _keep(self, context: Context, run: Mapping[str, Any]) -> None:
        self._store.put(RUN, scope_of(context), run["Name"], run["WorkflowRunId"], run)

    # --- the clock -----------------------------------------------------------------------------------

    def schedule(self, context: Context, kind: str, name: str, expression: str | None) -> None:
        """Fire a trigger or a crawler by a schedule from now on; without one, no more."""
        if not expression:
            self._unschedule(context, kind, name)
            return
        Schedule(expression)
        with self._lock:
            self._store.put(SCHEDULE, scope_of(context), name, kind, {"expression": expression})
            self._due.pop((scope_of(context), kind, name), None)

    def _unschedule(self, context: Context, kind: str, name: str) -> None:
        with self._lock:
            self._store.delete(SCHEDULE, scope_of(context), name, kind)
            self._due.pop((scope_of(context), kind, name), None)

    def _reschedule(self, context: Context, name: str) -> None:
        trigger = self._definitions.get(TRIGGER, context, name)
        is_on = trigger["Type"] == "SCHEDULED" and trigger.get("State") == "ACTIVATED"
        self.schedule(context, TRIGGER.name, name, trigger.get("Schedule") if is_on else None)

    def _watch_the_clock(self) -> None:
        while not self._closing.wait(TICK_SECONDS):
            self.tick(datetime.now(UTC))

    def tick(self, now: datetime) -> None:
        """Fire what is due."""
        due = []
        with self._lock:
            for scope, name, kind, document in self._store.rows(SCHEDULE):
                key = (scope, kind, name)
                moment = self._due.get(key)
                if moment is not None and moment <= now:
                    due.append(key)
                if key not in self._due or (moment is not None and moment <= now):
                    self._due[key] = Schedule(document["expression"]).after(now)
        for scope, kind, name in due:
            context = context_of_scope(scope)
            try:
                if kind == CRAWLER.name:
                    self._start_crawl(context, name, "", "")
                else:
                    self._fire_start(context, self._definitions.get(TRIGGER, context, name))
            except (ServiceError, ClientError) as error:
                logger.error("the scheduled %s %s could not start: %s", kind.lower(), name, error)
            except Exception:
                logger.exception("the scheduled %s %s failed", kind.lower(), name)


# --- what is decided, without input or output ------------------------------------------------------------


def check_trigger(trigger: Mapping[str, Any]) -> None:
    """See that a trigger can ever fire.

    Raises:
        ServiceError: ``InvalidInputException``.
    """
    kind = trigger.get("Type")
    problem = None
    if kind not in {"ON_DEMAND", "SCHEDULED", "CONDITIONAL"}:
        problem = f"triggers of the type {kind} are not supported here"
    elif kind == "SCHEDULED":
        Schedule(str(trigger.get("Schedule") or ""))
    elif kind == "CONDITIONAL" and not (trigger.get("Predicate") or {}).get("Conditions"):
        problem = "a conditional trigger needs a predicate with conditions"
    if not trigger.get("Actions"):
        problem = "a trigger needs actions"
    if problem:
        raise ServiceError("InvalidInputException", problem)


def holds(condition: Mapping[str, Any], event: Mapping[str, Any]) -> bool:
    """Whether a condition is about this end of a run, and holds for it."""
    return about(condition, event) and all(
        condition[key] == event.get(key) for key in ("State", "CrawlState") if condition.get(key)
    )


def about(condition: Mapping[str, Any], event: Mapping[str, Any]) -> bool:
    """Whether a condition is about this job or crawler."""
    return all(
        condition.get(key) == event.get(key) for key in ("JobName", "CrawlerName") if condition.get(key)
    )


def watches(trigger: Mapping[str, Any], event: Mapping[str, Any]) -> bool:
    """Whether a trigger waits for this job or crawler."""
    conditions = (trigger.get("Predicate") or {}).get("Conditions") or ()
    return trigger["Type"] == "CONDITIONAL" and any(about(condition, event) for condition in conditions)


def fires(trigger: Mapping[str, Any], events: Sequence[Mapping[str, Any]]) -> bool:
    """Whether the ends of runs so far let a conditional trigger fire; the last end of each counts.

    Args:
        trigger: As ``GetTrigger`` shows it.
        events: Ends of runs: name and state.
    """
    if trigger["Type"] != "CONDITIONAL" or trigger.get("State") != "ACTIVATED":
        return False
    predicate = trigger.get("Predicate") or {}
    conditions = predicate.get("Conditions") or ()

    def is_met(condition: Mapping[str, Any]) -> bool:
        ends = [event for event in events if about(condition, event)]
        return bool(ends) and holds(condition, ends[-1])

    met = [is_met(condition) for condition in conditions]
    is_any = str(predicate.get("Logical") or "AND").upper() == "ANY"
    return bool(met) and (any(met) if is_any else all(met))


def is_try_of(identity: str, first: str) -> bool:
    """Whether a run is the first try of a job, or one after it."""
    return identity.partition("_attempt_")[0] == first


def all_told(actions: Sequence[Mapping[str, Any]], events: Sequence[Mapping[str, Any]]) -> bool:
    """Whether the end of each action was told, for a job that of its last try.

    What has ended but was not told yet may still make a trigger fire.
    """
    ended = {str(event["RunId"]).partition("_attempt_")[0] for event in events}
    return all("_error" in action or action["_run"] in ended for action in actions)


def statistics(states: Sequence[str]) -> dict[str, int]:
    """``Statistics`` of a workflow's run."""
    return {
        "TotalActions": len(states),
        "TimeoutActions": states.count("TIMEOUT"),
        "FailedActions": states.count("FAILED"),
        "StoppedActions": states.count("STOPPED") + states.count("CANCELLED"),
        "SucceededActions": states.count("SUCCEEDED"),
        "RunningActions": sum(state in GOING for state in states),
        "ErroredActions": states.count("ERROR"),
        "WaitingActions": states.count("WAITING"),
    }


def shown_crawl(crawl: Mapping[str, Any]) -> dict[str, Any]:
    """A crawl as a workflow's graph shows it."""
    names = {"StartTime": "StartedOn", "EndTime": "CompletedOn"}
    kept = {"ErrorMessage", "LogGroup", "LogStream", *names}
    seen = {names.get(key, key): value for key, value in crawl.items() if key in kept}
    return {"State": CRAWL_STATES[crawl["State"]], **seen}


def graph(
    triggers: Sequence[Mapping[str, Any]],
    states: Sequence[tuple[Mapping[str, Any], str, list[dict[str, Any]]]] = (),
) -> dict[str, Any]:
    """``Graph`` of a workflow: triggers, jobs and crawlers, and what leads to what.

    Args:
        triggers: Those of the workflow.
        states: Actions of a run with their runs, which are shown at their nodes.
    """
    runs: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for action, _, found in states:
        kind = "JOB" if "JobName" in action else "CRAWLER"
        runs.setdefault((kind, str(action.get("JobName") or action.get("CrawlerName"))), []).extend(found)
    nodes: dict[str, dict[str, Any]] = {}
    edges: list[dict[str, str]] = []

    def node(kind: str, name: str) -> str:
        identity = f"{kind.lower()}_{name}"
        if identity not in nodes:
            nodes[identity] = {"Type": kind, "Name": name, "UniqueId": identity}
            found = runs.get((kind, name), ())
            if kind == "JOB":
                nodes[identity]["JobDetails"] = {"JobRuns": [shown(run) for run in found]}
            elif kind == "CRAWLER":
                nodes[identity]["CrawlerDetails"] = {"Crawls": [shown_crawl(crawl) for crawl in found]}
        return identity

    for trigger in triggers:
        own = node("TRIGGER", trigger["Name"])
        nodes[own]["TriggerDetails"] = {"Trigger": dict(trigger)}
        for condition in (trigger.get("Predicate") or {}).get("Conditions") or ():
            what = (
                ("JOB", condition["JobName"])
                if condition.get("JobName")
                else ("CRAWLER", condition["CrawlerName"])
            )
            edges.append({"SourceId": node(*what), "DestinationId": own})
        for action in trigger.get("Actions") or ():
            what = ("JOB", action["JobName"]) if action.get("JobName") else ("CRAWLER", action["CrawlerName"])
            edges.append({"SourceId": own, "DestinationId": node(*what)})
    return {"Nodes": list(nodes.values()), "Edges": edges}
