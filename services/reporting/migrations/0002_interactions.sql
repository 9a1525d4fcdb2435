-- What is counted of each conversation, at the newest version heard; counted while no activity stands for it.
create table interaction_fact (
    business_id uuid not null,
    interaction_id uuid not null,
    version int not null,
    counted bool not null,
    at timestamptz not null,
    type text not null,
    state text not null check (state = 'logged'),
    source text not null,
    source_kind text not null,
    direction text not null,
    agent text not null,
    primary key (business_id, interaction_id)
);
create index interaction_fact_at on interaction_fact (business_id, at, interaction_id) where counted;

-- Of an activity that was made from a conversation: which one. A conversation by itself has a fact with version 0 that
-- is not counted, under the id of the activity that it would become.
alter table fact add column deleted bool not null default false;
alter table fact add column interaction_id uuid;
create index fact_interaction on fact (business_id, interaction_id) where interaction_id is not null;

select walls('interaction_fact', 'select', 'select, insert, update, delete, truncate');
