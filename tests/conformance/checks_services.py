"""What AWS does: one cheap use of each other service that Terraform, or a stack around finlake, asks for."""

from __future__ import annotations

import json
import re
import time
from typing import Any
from urllib.parse import urlsplit

from botocore.awsrequest import AWSRequest
from checks import REGION, Aws, Group, only

services = Group("Other services")

TRUST = {
    "Version": "2012-10-17",
    "Statement": [
        {"Effect": "Allow", "Principal": {"Service": "glue.amazonaws.com"}, "Action": "sts:AssumeRole"}
    ],
}
POLICY = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Action": ["s3:GetObject"], "Resource": ["arn:aws:s3:::bucket/*"]}],
}
RUN_SECONDS = 4


@services("STS names the account in twelve digits", needed=True)
def sts(aws: Aws) -> None:
    account = aws.client("sts").get_caller_identity()["Account"]
    assert re.fullmatch(r"\d{12}", account), "it is something else"


@services("IAM keeps roles and their policies as they were written", needed=True)
def iam(aws: Aws) -> None:
    client, name = aws.client("iam"), aws.fresh("role")
    client.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(TRUST), Description="a job")
    role = client.get_role(RoleName=name)["Role"]
    assert role["AssumeRolePolicyDocument"] == TRUST, "the trust policy differs"
    assert role["Arn"].endswith(f":role/{name}"), "the ARN differs"
    client.put_role_policy(RoleName=name, PolicyName="access", PolicyDocument=json.dumps(POLICY))
    kept = client.get_role_policy(RoleName=name, PolicyName="access")["PolicyDocument"]
    assert kept == POLICY, "the policy differs"


@services("CloudWatch Logs keeps groups with their retention", needed=True)
def logs(aws: Aws) -> None:
    client, name = aws.client("logs"), f"/{aws.fresh('group')}"
    client.create_log_group(logGroupName=name)
    client.put_retention_policy(logGroupName=name, retentionInDays=14)
    group = only(client.describe_log_groups(logGroupNamePrefix=name)["logGroups"])
    assert group.get("retentionInDays") == 14, "the retention differs"


@services("S3 Control lists a bucket's tags")
def s3control(aws: Aws) -> None:
    s3, bucket = aws.bucket()
    tags = [{"Key": "layer", "Value": "silver"}]
    s3.put_bucket_tagging(Bucket=bucket, Tagging={"TagSet": tags})
    client = aws.client("s3control")

    def to_the_endpoint(request: AWSRequest, **_: Any) -> None:
        # The SDK puts the account in front of the host, which then has no address.
        request.url = aws.endpoint + urlsplit(request.url).path

    client.meta.events.register("before-sign.s3-control", to_the_endpoint)
    answer = client.list_tags_for_resource(AccountId="000000000000", ResourceArn=f"arn:aws:s3:::{bucket}")
    assert answer["Tags"] == tags, "they differ"


@services("KMS encrypts and decrypts")
def kms(aws: Aws) -> None:
    client = aws.client("kms")
    key = client.create_key(Description="finlake")["KeyMetadata"]["KeyId"]
    cipher = client.encrypt(KeyId=key, Plaintext=b"secret")["CiphertextBlob"]
    assert b"secret" not in cipher, "the text can be read"
    assert client.decrypt(CiphertextBlob=cipher)["Plaintext"] == b"secret", "another text comes back"


@services("SQS hands out what was sent")
def sqs(aws: Aws) -> None:
    client = aws.client("sqs")
    queue = client.create_queue(QueueName=aws.fresh("queue"))["QueueUrl"]
    client.send_message(QueueUrl=queue, MessageBody="hello")
    got = client.receive_message(QueueUrl=queue, WaitTimeSeconds=2).get("Messages", [])
    assert [message["Body"] for message in got] == ["hello"], "it does not arrive"


@services("SNS passes messages on to SQS")
def sns(aws: Aws) -> None:
    client, queues = aws.client("sns"), aws.client("sqs")
    queue = queues.create_queue(QueueName=aws.fresh("queue"))["QueueUrl"]
    arn = queues.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    topic = client.create_topic(Name=aws.fresh("topic"))["TopicArn"]
    client.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)
    client.publish(TopicArn=topic, Message="hello")
    got = queues.receive_message(QueueUrl=queue, WaitTimeSeconds=2).get("Messages", [])
    texts = [json.loads(message["Body"])["Message"] for message in got]
    assert texts == ["hello"], "it does not arrive"


@services("EventBridge keeps rules and their targets")
def events(aws: Aws) -> None:
    client, name = aws.client("events"), aws.fresh("rule")
    client.put_rule(Name=name, ScheduleExpression="rate(1 day)", State="DISABLED")
    target = {"Id": "1", "Arn": f"arn:aws:sqs:{REGION}:000000000000:queue"}
    client.put_targets(Rule=name, Targets=[target])
    rule = client.describe_rule(Name=name)
    kept = (rule["ScheduleExpression"], rule["State"])
    assert kept == ("rate(1 day)", "DISABLED"), "the rule differs"
    assert client.list_targets_by_rule(Rule=name)["Targets"] == [target], "the targets differ"


@services("CloudWatch keeps alarms")
def cloudwatch(aws: Aws) -> None:
    client, name = aws.client("cloudwatch"), aws.fresh("alarm")
    client.put_metric_alarm(
        AlarmName=name,
        Namespace="finlake",
        MetricName="rows",
        ComparisonOperator="LessThanThreshold",
        EvaluationPeriods=1,
        Period=60,
        Statistic="Sum",
        Threshold=1.5,
    )
    alarms = client.describe_alarms(AlarmNames=[name])["MetricAlarms"]
    assert [(each["MetricName"], each["Threshold"]) for each in alarms] == [("rows", 1.5)], "it differs"


@services("Step Functions runs a state machine")
def stepfunctions(aws: Aws) -> None:
    client, name = aws.client("stepfunctions"), aws.fresh("machine")
    definition = {"StartAt": "Say", "States": {"Say": {"Type": "Pass", "Result": "hello", "End": True}}}
    machine = client.create_state_machine(
        name=name, definition=json.dumps(definition), roleArn="arn:aws:iam::000000000000:role/machine"
    )["stateMachineArn"]
    execution = client.start_execution(stateMachineArn=machine, input="{}")["executionArn"]
    for _ in range(RUN_SECONDS * 10):
        state = client.describe_execution(executionArn=execution)
        if state["status"] != "RUNNING":
            break
        time.sleep(0.1)
    assert state["status"] == "SUCCEEDED", f"it ends as {state['status']}"
    assert json.loads(state.get("output", "null")) == "hello", "it gives back something else"


@services("Secrets Manager keeps secrets")
def secretsmanager(aws: Aws) -> None:
    client, name = aws.client("secretsmanager"), aws.fresh("secret")
    client.create_secret(Name=name, SecretString="open sesame")
    client.put_secret_value(SecretId=name, SecretString="close sesame")
    kept = client.get_secret_value(SecretId=name)["SecretString"]
    assert kept == "close sesame", "another value comes back"


@services("Athena runs a query and gives its rows back")
def athena(aws: Aws) -> None:
    client, (_, bucket) = aws.client("athena"), aws.bucket()
    query = client.start_query_execution(
        QueryString="SELECT 40 + 2 AS answer, 'a,b' AS text",
        ResultConfiguration={"OutputLocation": f"s3://{bucket}/results/"},
    )["QueryExecutionId"]
    for _ in range(RUN_SECONDS * 10):
        status = client.get_query_execution(QueryExecutionId=query)["QueryExecution"]["Status"]
        if status["State"] not in {"QUEUED", "RUNNING"}:
            break
        time.sleep(0.1)
    end = f"{status['State']}. {status.get('StateChangeReason', '')}"
    assert status["State"] == "SUCCEEDED", f"it ends as {end}"
    found = client.get_query_results(QueryExecutionId=query)["ResultSet"]["Rows"]
    rows = [[cell.get("VarCharValue") for cell in row["Data"]] for row in found]
    assert rows == [["answer", "text"], ["42", "a,b"]], f"its rows are {rows or 'none'}"


GROUPS = (services,)
