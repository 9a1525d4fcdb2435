-- Which records were found to be one, and by whom; undone ones stay. `record.merged_into` is where the path leads.
create table record_merge (
    business_id uuid not null,
    record_id uuid not null,              -- the one that is not shown by itself any more
    survivor_id uuid not null,
    merged_at timestamptz not null,
    by_key uuid,
    by_member uuid,
    undone_at timestamptz,
    primary key (business_id, record_id, merged_at)
);
create unique index record_merge_open on record_merge (business_id, record_id) where undone_at is null;
create index record_merge_survivor on record_merge (business_id, survivor_id) where undone_at is null;
select walls('record_merge', 'select, insert, update', 'select, insert, update, delete');

-- Requests of activities to change a record, each answered once.
create table record_request (
    business_id uuid not null,
    request_id uuid not null,
    record_id uuid not null,
    answered_at timestamptz not null,
    primary key (business_id, request_id)
);
select walls('record_request', '', 'select, insert, delete');

-- Fields of its records that activities may not write.
alter table record_object add column locked_fields text[] not null default '{}';
