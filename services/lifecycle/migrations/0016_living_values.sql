-- What planned activities show of linked fields: the values of the records, and those asked for and not answered yet.
-- `fields` null: not heard since this migration; `republish directory` fills it, until then activities show their own.
alter table record
    add column status text,
    add column owner_id uuid,
    add column fields bytea;

-- One row for each value of a record, as it was asked for last. The answer takes it away: a refusal at once, what was
-- done when the copy of the record that did it (`done_id`) has come to that version.
create table asked_value (
    business_id uuid not null,
    record_id uuid not null,
    name text not null,                   -- as the record calls it
    request_id uuid not null,
    value bytea not null,                 -- JSON
    asked_at timestamptz not null,
    done_id uuid,
    done_version bigint,
    primary key (business_id, record_id, name)
);
create index asked_value_request on asked_value (business_id, request_id);
select walls('asked_value', 'select, insert, update', 'select, insert, update, delete');
