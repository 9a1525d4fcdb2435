-- A finished conversation at the newest version heard, and where it is to be seen: links as in activity_head.
-- activity_id names the activity that it becomes, and its own line until then.
create table interaction (
    business_id uuid not null,
    interaction_id uuid not null,
    version int not null,
    activity_id uuid not null,
    links jsonb not null,
    source text not null,
    source_ref text not null,
    type text not null,
    type_id uuid not null,
    channel text not null,
    queue text,
    agent_id uuid,
    agent text,
    direction text not null,
    address text,
    opened_at timestamptz not null,
    answered_at timestamptz,
    closed_at timestamptz not null,
    recorded_at timestamptz not null,
    erased_at timestamptz,
    disposition text,
    transfers jsonb not null,
    first_message text,
    messages_count int not null,
    primary key (business_id, interaction_id)
);

-- A message of a conversation; position counts from 0, oldest first.
create table message (
    business_id uuid not null,
    interaction_id uuid not null,
    position int not null,
    id text not null,
    direction text not null,
    author text,
    text text not null,
    media_url text,
    sent_at timestamptz not null,
    delivered_at timestamptz,
    read_at timestamptz,
    template text,
    primary key (business_id, interaction_id, position)
);

-- A line is an activity, a conversation, or both. Of an activity that was made from a conversation: which one. A
-- conversation by itself has a head with version 0, under the id of the activity that it would become. placed says
-- where the entries are when they do not follow from the activity's own columns: [at, upcoming, links].
alter table activity_head add column interaction_id uuid;
alter table activity_head add column placed jsonb;
create index activity_head_interaction on activity_head (business_id, interaction_id) where interaction_id is not null;

create index record_name on record (business_id, object, name, id) where deleted_at is null;

select walls('interaction', 'select', 'select, insert, update, delete, truncate');
select walls('message', 'select', 'select, insert, update, delete, truncate');
