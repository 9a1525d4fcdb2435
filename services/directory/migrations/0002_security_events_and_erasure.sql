-- Who made and revoked keys and erased records; and that a record's person was erased.

alter table record add column erased_at timestamptz;

create table security_event (
    business_id uuid not null,
    id uuid not null default gen_random_uuid(),
    created_at timestamptz not null default now(),
    kind text not null,                   -- key.made, key.revoked, record.erased
    subject_id uuid not null,             -- the key, or the record
    by_key uuid,                          -- null: the operator's
    by_member uuid,
    reason text,
    request_id text,
    primary key (business_id, id)
);
create index security_event_order on security_event (business_id, created_at desc, id desc);
create index security_event_subject on security_event (business_id, subject_id);
select walls('security_event', 'select, insert', 'select');

create function refuse_change() returns trigger language plpgsql as $$
begin
    raise exception '% is append-only: % is refused', tg_table_name, lower(tg_op) using errcode = 'integrity_constraint_violation';
end $$;
create trigger security_event_stays before update or delete or truncate on security_event execute function refuse_change();
