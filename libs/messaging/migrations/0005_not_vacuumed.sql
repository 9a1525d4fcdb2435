-- Days of the outbox are written once and dropped as a whole: to vacuum what was inserted is work for nothing. As before
-- but for that.
create or replace function outbox_keep_days(ahead int) returns void language plpgsql security definer set search_path = public, pg_temp as $$
declare
    first date := (now() at time zone 'UTC')::date - 1;
    part text;
begin
    perform pg_advisory_xact_lock(4713000003);
    for n in 0 .. ahead + 1 loop
        part := 'outbox_' || to_char(first + n, 'YYYYMMDD');
        if to_regclass(part) is null then
            execute format('create table %I (like outbox including defaults including storage including indexes)
                with (autovacuum_vacuum_insert_threshold = -1)', part);
            execute format('alter table outbox attach partition %I for values from (%L) to (%L)', part, first + n, first + n + 1);
        end if;
    end loop;
end $$;

do $$
declare
    part regclass;
begin
    for part in select inhrelid::regclass from pg_inherits where inhparent = 'outbox'::regclass loop
        execute format('alter table %s set (autovacuum_vacuum_insert_threshold = -1)', part);
    end loop;
end $$;
