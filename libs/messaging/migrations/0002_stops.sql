-- Partitions that were stopped by a flood of poison, each with the record that decided it; gone when it goes on again.
create table consumer_stop (
    consumer_group text not null,
    topic text not null,
    part int not null,
    record_offset bigint not null,    -- nothing from here on is handled
    since_ms bigint not null,         -- the time of that record
    reason text not null,
    guilty_offset bigint not null,
    guilty_ms bigint not null,
    key bytea,
    value bytea,
    header_names text[] not null,
    header_values bytea[] not null,
    stopped_at timestamptz not null default now(),
    asked text check (asked in ('resume', 'set_aside')),  -- by an operator
    primary key (consumer_group, topic, part)
);

grant select, insert, update, delete on consumer_stop to {worker};
