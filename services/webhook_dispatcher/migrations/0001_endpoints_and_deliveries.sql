-- Who is told (endpoint), what is owed (delivery, small and hot), what was said (event), how it went (attempt).

create table endpoint (
    business_id uuid not null,
    id uuid not null,
    version int not null,
    url text not null,
    description text not null,
    event_types text[] not null,
    sources text[] not null,
    activity_objects text[] not null,
    status text not null check (status in ('active', 'paused', 'disabled')),
    disabled_reason text,
    failing_since timestamptz,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    deleted_at timestamptz,
    primary key (business_id, id)
);

create table endpoint_revision (
    business_id uuid not null,
    endpoint_id uuid not null,
    version int not null,
    at timestamptz not null default now(),
    by_key uuid,
    document jsonb not null,
    primary key (business_id, endpoint_id, version)
);

-- Sealed with AES-256-GCM, bound to business and endpoint; live until expires_at.
create table endpoint_secret (
    business_id uuid not null,
    endpoint_id uuid not null,
    id uuid not null,
    sealed bytea not null,
    created_at timestamptz not null default now(),
    expires_at timestamptz,
    primary key (business_id, endpoint_id, id)
);

-- next_at: when somebody is to look at it again; while a worker sends, the end of its lease. lease_no is the fence that
-- every finishing statement compares.
create table delivery (
    business_id uuid not null,
    id uuid not null,
    endpoint_id uuid not null,
    event_id uuid not null,
    event_day date not null default current_date,
    event_type text not null,
    activity_id uuid not null,
    version int not null,
    logged_at timestamptz not null,
    status text not null default 'pending',
    attempts int not null default 0,
    next_at timestamptz default now(),
    lease_no int not null default 0,
    last_error text,
    created_at timestamptz not null default now(),
    finished_at timestamptz,
    primary key (business_id, id),
    unique (business_id, activity_id, endpoint_id, event_type, version),
    constraint delivery_only_of_logged check (
        logged_at is not null and event_type in ('activity.logged', 'activity.completed', 'activity.appended')),
    constraint delivery_status check (status in ('pending', 'delivered', 'exhausted', 'parked', 'cancelled')),
    constraint delivery_next check ((status = 'pending') = (next_at is not null))
) with (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000);

-- The one index that does not begin with the business: workers ask for what is due, whosever it is.
create index delivery_due on delivery (next_at) where status = 'pending';
create index delivery_of_endpoint on delivery (business_id, endpoint_id, id);
create index delivery_by_status on delivery (business_id, status, id) where status <> 'delivered';

create table event (
    business_id uuid not null,
    day date not null default current_date,
    id uuid not null,
    event_type text not null,
    activity_id uuid not null,
    version int not null,
    logged_at timestamptz not null,
    body bytea not null,
    primary key (business_id, day, id),
    constraint event_only_of_logged check (
        logged_at is not null and event_type in ('activity.logged', 'activity.completed', 'activity.appended'))
) partition by range (day);
alter table event alter column body set storage external;

create table attempt (
    business_id uuid not null,
    day date not null default current_date,
    delivery_id uuid not null,
    number int not null,
    endpoint_id uuid not null,
    at timestamptz not null,
    duration_ms int not null,
    result text not null,
    http_status int,
    address text,
    phases jsonb not null,
    headers jsonb not null,
    answer bytea not null,
    primary key (business_id, day, delivery_id, number)
) partition by range (day);

select walls('endpoint', 'select, insert, update', 'select, update');
select walls('endpoint_revision', 'select, insert', 'select, insert');
select walls('endpoint_secret', 'select, insert, update, delete', 'select, delete');
select walls('delivery', 'select, update', 'select, insert, update, delete');
select walls('event', 'select', 'select, insert');
select walls('attempt', 'select', 'select, insert');

-- Day partitions: made ahead and dropped by the service's worker role, which may not do so by itself.
create function make_day(wanted date) returns boolean language plpgsql security definer set search_path = public, pg_temp as $$
declare
    parent text;
    part text;
    made boolean := false;
begin
    perform pg_advisory_xact_lock(4713000011);
    foreach parent in array array['event', 'attempt'] loop
        part := format('%s_%s', parent, to_char(wanted, 'YYYYMMDD'));
        if to_regclass(part) is null then
            execute format('create table %I partition of %I for values from (%L) to (%L)', part, parent, wanted, wanted + 1);
            perform walls(part::regclass, '', '');
            made := true;
        end if;
    end loop;
    return made;
end $$;

create function drop_days_before(oldest date) returns int language plpgsql security definer set search_path = public, pg_temp as $$
declare
    part text;
    dropped int := 0;
begin
    perform pg_advisory_xact_lock(4713000011);
    for part in
        select c.relname from pg_inherits i join pg_class c on c.oid = i.inhrelid
         where i.inhparent in ('event'::regclass, 'attempt'::regclass)
           and to_date(right(c.relname, 8), 'YYYYMMDD') < oldest
    loop
        execute format('drop table %I', part);
        dropped := dropped + 1;
    end loop;
    return dropped;
end $$;

revoke all on function make_day(date) from public;
revoke all on function drop_days_before(date) from public;
grant execute on function make_day(date) to {worker};
grant execute on function drop_days_before(date) to {worker};
select make_day(current_date + n) from generate_series(0, 3) as n;
