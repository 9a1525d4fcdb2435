"""What an operator does to topics and groups: make topics, rewind a group, see what is behind."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import (
    GroupCoordinatorNotAvailableError,
    KafkaError,
    TopicAlreadyExistsError,
    UnknownMemberIdError,
    for_code,
)

from libs.contracts.topics import DEAD_LETTER_KEPT_DAYS, TOPICS, dead_letter_topic
from libs.errors import ActivitiesError, Unavailable
from libs.messaging.broker import VALUE_MAX_BYTES, BrokerSettings

DAY_MS = 86_400_000
COMPACTION_MAX_DAYS = 7
"""How long a state that was followed by another stays on a compacted topic: old states of erased records go with it."""
REQUEST_MS = 15_000
INBOUND_KEPT_DAYS = 14


class TopicsDiffer(ActivitiesError):
    """Topics exist with another number of partitions than the setting; changing that is a procedure."""


class GroupBusy(ActivitiesError):
    """The group has members; stop its consumers first."""


async def create_topics(broker: BrokerSettings, services: Sequence[str], inbound: Sequence[str] = ()) -> list[str]:
    """Make the topics that are missing, also one for the dead letters of each service; return those made.

    `inbound` are topics that others write to; those that exist stay as they are.

    Raises TopicsDiffer, Unavailable.
    """
    wanted = {topic.name: topic.kept_days for topic in TOPICS}
    wanted |= {dead_letter_topic(service): DEAD_LETTER_KEPT_DAYS for service in services}
    wanted |= dict.fromkeys(inbound, INBOUND_KEPT_DAYS)
    foreign = replace(broker, message_max_bytes=VALUE_MAX_BYTES)  # set aside, a record needs room for the reason
    async with _admin(broker) as admin:
        existing = await _counts_of(admin, wanted)
        ours = {name: count for name, count in existing.items() if name not in inbound}
        _check_partitions(ours, broker.partitions)
        missing = [name for name in wanted if name not in existing]
        made = []
        if missing:
            response = await admin.create_topics(
                [_new_topic(foreign if name in inbound else broker, name, wanted[name]) for name in missing]
            )
            for name, code, *rest in response.topic_errors:
                if code not in (0, TopicAlreadyExistsError.errno):
                    raise Unavailable(f"topic {name} could not be made: {for_code(code).__name__} {rest}")
                if code == 0:  # a topic made a moment ago may not be shown yet
                    made.append(name)
    return made


async def rewind(broker: BrokerSettings, group: str, topics: Sequence[str]) -> int:
    """Set a group's offsets to the beginning of the log, so that it hears everything again; return how many records.

    Raises GroupBusy while a consumer of the group is running.
    """
    async with _admin(broker) as admin:
        members = await _members(admin, group)
        partitions = await _partitions(admin, topics)
    if members:
        raise GroupBusy(f"group {group} has {len(members)} members; stop its consumers, then rewind")
    async with reading(broker, group) as reader:
        begins = await reader.beginning_offsets(partitions)
        ends = await reader.end_offsets(partitions)
        reader.assign(partitions)
        try:
            await reader.commit(begins)
        except UnknownMemberIdError as error:
            raise GroupBusy(f"group {group} has members; stop its consumers, then rewind") from error
    return sum(ends[partition] - begins[partition] for partition in partitions)


async def backlog(broker: BrokerSettings, group: str, topics: Sequence[str]) -> int:
    """Tell how many records on these topics the group has not acknowledged yet."""
    return (await backlogs(broker, {group: topics}))[group]


async def backlogs(broker: BrokerSettings, groups: Mapping[str, Sequence[str]]) -> dict[str, int]:
    """Tell for several groups, given with their topics, how many records each has not acknowledged yet."""
    async with _admin(broker) as admin:
        everything = await _partitions(admin, sorted({topic for topics in groups.values() for topic in topics}))
        committed = {group: await _committed(admin, group) for group in groups}
    async with reading(broker, None) as reader:
        begins = await reader.beginning_offsets(everything)
        ends = await reader.end_offsets(everything)
    return {
        group: sum(
            ends[partition] - max(committed[group].get(partition, -1), begins[partition])
            for partition in everything
            if partition.topic in topics
        )
        for group, topics in groups.items()
    }


async def _committed(admin: AIOKafkaAdminClient, group: str) -> dict[TopicPartition, int]:
    try:
        offsets = await admin.list_consumer_group_offsets(group)
    except GroupCoordinatorNotAvailableError:  # nobody has used a group in this cluster yet
        return {}
    return {partition: kept.offset for partition, kept in offsets.items()}


async def partitions_of(broker: BrokerSettings, topics: Sequence[str]) -> list[TopicPartition]:
    """List the partitions of topics. Raises Unavailable, also where a topic is missing."""
    async with _admin(broker) as admin:
        return await _partitions(admin, topics)


async def _counts_of(admin: AIOKafkaAdminClient, names: Mapping[str, int | None]) -> dict[str, int]:
    known = set(await admin.list_topics())
    asked = [name for name in names if name in known]
    if not asked:
        return {}
    found = await admin.describe_topics(asked)
    return {topic["topic"]: len(topic["partitions"]) for topic in found}


async def _members(admin: AIOKafkaAdminClient, group: str) -> list[object]:
    try:
        (answer,) = await admin.describe_consumer_groups([group])
    except GroupCoordinatorNotAvailableError:
        return []
    return [member for described in answer.groups for member in described[5]]


def _check_partitions(existing: Mapping[str, int], partitions: int) -> None:
    differing = [f"{name} has {count}" for name, count in sorted(existing.items()) if count != partitions]
    if differing:
        raise TopicsDiffer(
            f"topics must have {partitions} partitions, but {', '.join(differing)}; a key would change its partition. "
            "Set the number back, or follow the procedure in deploy/README.md"
        )


def _new_topic(broker: BrokerSettings, name: str, kept_days: int | None) -> NewTopic:
    if kept_days is None:
        kept = {
            "cleanup.policy": "compact",
            "retention.ms": "-1",
            "min.cleanable.dirty.ratio": "0.2",
            "max.compaction.lag.ms": str(COMPACTION_MAX_DAYS * DAY_MS),
        }
    else:
        kept = {"cleanup.policy": "delete", "retention.ms": str(kept_days * DAY_MS)}
    return NewTopic(
        name,
        broker.partitions,
        broker.replication_factor,
        topic_configs=kept | {"max.message.bytes": str(broker.message_max_bytes)},
    )


async def _partitions(admin: AIOKafkaAdminClient, topics: Sequence[str]) -> list[TopicPartition]:
    counts = await _counts_of(admin, dict.fromkeys(topics))
    missing = sorted(set(topics) - set(counts))
    if missing:
        raise Unavailable(f"Kafka has no topic {', '.join(missing)}; `topics` makes them")
    return [TopicPartition(topic, partition) for topic in topics for partition in range(counts[topic])]


@asynccontextmanager
async def _admin(broker: BrokerSettings) -> AsyncIterator[AIOKafkaAdminClient]:
    admin = AIOKafkaAdminClient(bootstrap_servers=broker.bootstrap_servers, request_timeout_ms=REQUEST_MS)
    try:
        await admin.start()
        yield admin
    except (KafkaError, OSError, TimeoutError) as error:
        raise Unavailable(f"Kafka does not answer ({type(error).__name__}: {error})") from error
    finally:
        await admin.close()


@asynccontextmanager
async def reading(broker: BrokerSettings, group: str | None) -> AsyncIterator[AIOKafkaConsumer]:
    """Open a plain reader that commits nothing by itself. Raises Unavailable."""
    reader = AIOKafkaConsumer(
        bootstrap_servers=broker.bootstrap_servers,
        group_id=group,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        request_timeout_ms=REQUEST_MS,
    )
    try:
        await reader.start()
        yield reader
    except (KafkaError, OSError, TimeoutError) as error:
        raise Unavailable(f"Kafka does not answer ({type(error).__name__}: {error})") from error
    finally:
        await reader.stop()
