-- Events of topics that take none (missing, forbidden, too small): kept in their order, so that other topics go on.
create table outbox_held (
    id bigint generated always as identity primary key,
    topic text not null,
    key bytea,
    value bytea,
    header_names text[] not null,
    header_values bytea[] not null,
    held_at timestamptz not null default now()
);
create index outbox_held_order on outbox_held (topic, id);
alter table outbox_held alter column value set storage external;

-- Since when something committed has not been published; null: nothing is behind.
alter table outbox_cursor add column behind_since timestamptz;

grant select, insert, delete on outbox_held to {worker};

-- As before, but exact: a transaction that was open beside the last row does not keep a day that is published.
create or replace function outbox_drop_days(before date) returns int language plpgsql security definer
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
        execute format(
            'select exists (select from %I cross join outbox_cursor
             where xid >= pg_snapshot_xmin(done) and not pg_visible_in_snapshot(xid, done))', part) into busy;
        if not busy then
            execute format('drop table %I', part);
            dropped := dropped + 1;
        end if;
    end loop;
    return dropped;
end $$;
