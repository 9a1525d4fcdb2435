-- Finished conversations, which ingest owns: the head, its messages oldest first, and the records it was with.
create table interaction (
    business_id uuid not null,
    interaction_id uuid not null,
    version int not null,             -- 1 when it closed, the next when its text was erased
    source text not null,
    source_ref text not null,
    hash bytea not null,              -- SHA-256 over the interaction as sent, see domain.HASH_FORMAT
    hash_format smallint not null,
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
    links jsonb not null,
    transfers jsonb not null,
    first_message text,
    messages_count int not null,
    primary key (business_id, interaction_id)
);

create table message (
    business_id uuid not null,
    interaction_id uuid not null,
    position int not null,            -- from 0, in order of sent_at
    id text not null,                 -- the source's
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

-- Which interactions a record was in: what an erasure of the record has to blank.
create table interaction_record (
    business_id uuid not null,
    record_id uuid not null,
    interaction_id uuid not null,
    primary key (business_id, record_id, interaction_id)
);

select walls('interaction', 'select, insert', 'select, update');
select walls('message', 'select, insert', 'select, update');
select walls('interaction_record', 'select, insert', 'select');
