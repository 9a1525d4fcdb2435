-- What is shown of each activity, at the newest version heard. A deleted activity keeps its head, so that an older
-- version that comes late stays known. links: [[object, record id], …], the places of its entries.
create table activity_head (
    business_id uuid not null,
    activity_id uuid not null,
    version int not null,
    at timestamptz not null,
    upcoming bool not null,
    links jsonb not null,
    type text not null,
    type_id uuid not null,
    type_name text not null,
    subject text,
    summary text,
    source text not null,
    source_kind text not null,
    direction text,
    agent text,
    created_at timestamptz not null,
    planned_at timestamptz,
    due_at timestamptz,
    occurred_at timestamptz,
    logged_at timestamptz,
    completed_at timestamptz,
    cancelled_at timestamptz,
    retracted_at timestamptz,
    deleted_at timestamptz,
    primary key (business_id, activity_id)
);

-- A line of a timeline: where an activity is shown. The zero id stands for all records of the object. The one index
-- gives timelines their order and badges their count; a change finds an activity's entries by its head.
create table entry (
    business_id uuid not null,
    object text not null,
    record_id uuid not null,
    at timestamptz not null,
    activity_id uuid not null,
    upcoming bool not null,
    primary key (business_id, object, record_id, at, activity_id) include (upcoming)
);

create table record (
    business_id uuid not null,
    object text not null,
    id uuid not null,
    version bigint not null,
    name text not null,
    deleted_at timestamptz,
    primary key (business_id, object, id)
);
create index record_id on record (business_id, id);

create table activity_object (
    business_id uuid not null,
    id uuid not null,
    version bigint not null,
    api_name text not null,
    name text not null,
    icon text,
    colour text,
    primary key (business_id, id)
);

select walls('activity_head', 'select', 'select, insert, update, delete, truncate');
select walls('entry', 'select', 'select, insert, update, delete, truncate');
select walls('record', 'select', 'select, insert, update, delete, truncate');
select walls('activity_object', 'select', 'select, insert, update, delete, truncate');
