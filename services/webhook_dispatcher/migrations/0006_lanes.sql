-- What an endpoint's lane goes by. null: the service's own (settings). ordered: the deliveries of an activity are sent
-- one after another; one that has not arrived for skip_after_s holds the later ones up no more.
alter table endpoint
    add column rate_limit_per_s real check (rate_limit_per_s > 0),
    add column timeout_s real check (timeout_s between 1 and 30),
    add column ordered boolean not null default false,
    add column skip_after_s real not null default 3600 check (skip_after_s >= 0),
    add column schedule_s real[],
    add column headers jsonb not null default '{}',
    -- Left alone until then: it said so (retry_after), or it fails (breaker; holds: how many times in a row).
    add column held_until timestamptz,
    add column held_for text check (held_for in ('retry_after', 'breaker')),
    add column holds int not null default 0;

-- rank: what goes first within a lane: 0 first attempts, 1 retries, 2 replays. worker: who has the lease, if somebody.
alter table delivery
    add column rank smallint not null default 0 check (rank between 0 and 2),
    add column worker uuid;
create index delivery_waiting on delivery (business_id, endpoint_id, rank, next_at) where status = 'pending';

-- Which process sends: every endpoint belongs to one shard, every shard to one worker at a time, while its lease lasts.
create table worker (
    id uuid primary key,
    until timestamptz not null
);
create table shard (
    number smallint primary key,
    worker uuid
);
insert into shard (number) select generate_series(0, 63);
grant select, insert, update, delete on worker to {worker};
grant select, update on shard to {worker};
