-- Answers to writes that carried an Idempotency-Key: stored with the write, repeated for 7 days.
create table idempotency (
    business_id uuid not null,
    key text not null,
    route text not null,
    hash bytea not null,
    status int,
    headers jsonb,
    body bytea,
    created_at timestamptz not null default now(),
    primary key (business_id, key, route)
);
create index idempotency_age on idempotency (business_id, created_at);
select walls('idempotency', 'select, insert, update', 'select, delete');
