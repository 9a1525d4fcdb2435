-- Events on their way to Kafka. A row is published once per type; windows.py says in which order.
create table outbox (
    day date not null default (now() at time zone 'UTC')::date,
    xid xid8 not null default pg_current_xact_id(),
    id bigint generated always as identity,
    types text not null,              -- joined by commas; empty where `topic` says where it goes
    topic text,
    key bytea,
    value bytea,
    version int,
    event_id uuid,
    header_names text[],              -- with `topic`: headers as they are
    header_values bytea[],
    primary key (xid, id, day)
) partition by range (day);

alter table outbox alter column value set storage external;

create table outbox_cursor (
    one boolean primary key default true check (one),
    done pg_snapshot not null default '3:3:', -- what this snapshot sees is published
    seen pg_snapshot,                 -- the window being published: what this one sees besides; done up to after_id
    after_id bigint not null default 0,
    backlog_bytes bigint not null default 0,
    system_identifier bigint not null
);

create function outbox_cluster() returns bigint language sql stable security definer set search_path = pg_catalog as
    'select system_identifier from pg_control_system()';

insert into outbox_cursor (system_identifier) values (outbox_cluster());

-- Makes the partitions of yesterday to `ahead` days from now. ATTACH does not stop writers, as PARTITION OF would.
create function outbox_keep_days(ahead int) returns void language plpgsql security definer set search_path = public, pg_temp as $$
declare
    first date := (now() at time zone 'UTC')::date - 1;
    part text;
begin
    perform pg_advisory_xact_lock(4713000003);
    for n in 0 .. ahead + 1 loop
        part := 'outbox_' || to_char(first + n, 'YYYYMMDD');
        if to_regclass(part) is null then
            execute format('create table %I (like outbox including defaults including storage including indexes)', part);
            execute format('alter table outbox attach partition %I for values from (%L) to (%L)', part, first + n, first + n + 1);
        end if;
    end loop;
end $$;

-- Drops days before `before` that the cursor has left behind; returns how many.
create function outbox_drop_days(before date) returns int language plpgsql security definer
    set search_path = public, pg_temp set lock_timeout = '200ms' as $$
declare
    part text;
    busy boolean;
    dropped int := 0;
begin
    for part in
        select c.relname from pg_inherits i join pg_class c on c.oid = i.inhrelid
        where i.inhparent = 'outbox'::regclass and to_date(substr(c.relname, 8), 'YYYYMMDD') < before
    loop
        execute format('select exists (select from %I where xid >= (select pg_snapshot_xmin(done) from outbox_cursor))', part) into busy;
        if not busy then
            execute format('drop table %I', part);
            dropped := dropped + 1;
        end if;
    end loop;
    return dropped;
end $$;

-- After a restore into another cluster old xids mean nothing: all rows kept are published again, in their order.
create function outbox_adopt() returns bigint language plpgsql security definer set search_path = public, pg_temp as $$
declare
    adopted bigint;
begin
    lock table outbox in share row exclusive mode;
    update outbox set xid = pg_current_xact_id();
    get diagnostics adopted = row_count;
    update outbox_cursor
        set done = '3:3:', seen = null, after_id = 0, backlog_bytes = 0, system_identifier = outbox_cluster();
    return adopted;
end $$;

-- How often a record has failed for a reason nobody planned for.
create table consumer_attempt (
    consumer_group text not null,
    topic text not null,
    part int not null,
    record_offset bigint not null,
    attempts int not null default 1,
    failed_at timestamptz not null default now(),
    primary key (consumer_group, topic, part, record_offset)
);

select outbox_keep_days(7);

revoke all on function outbox_cluster(), outbox_keep_days(int), outbox_drop_days(date), outbox_adopt() from public;
grant execute on function outbox_cluster(), outbox_keep_days(int), outbox_drop_days(date), outbox_adopt() to {worker};
grant insert on outbox to {routes}, {worker};
grant select on outbox to {worker};
grant select, update on outbox_cursor to {worker};
grant select, insert, update, delete on consumer_attempt to {worker};
