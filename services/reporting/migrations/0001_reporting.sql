-- What is counted of each activity, at the newest version heard. state is scheduled work with a due moment ('due', its
-- `at`), without one ('undated'), or a word that time does not change. No value is '': nothing to compare with null.
create table fact (
    business_id uuid not null,
    activity_id uuid not null,
    version int not null,
    counted bool not null,
    at timestamptz not null,
    type text not null,
    state text not null check (state in ('due', 'undated', 'completed', 'logged', 'cancelled')),
    source text not null,
    source_kind text not null,
    direction text not null,
    agent text not null,
    primary key (business_id, activity_id)
);
create index fact_at on fact (business_id, at, activity_id) where counted;

-- How many counted facts there are in each quarter hour (UTC, its beginning): always exactly what counting them gives.
create table rollup (
    business_id uuid not null,
    quarter timestamptz not null,
    type text not null,
    state text not null,
    source text not null,
    source_kind text not null,
    direction text not null,
    agent text not null,
    count bigint not null,
    primary key (business_id, quarter, type, state, source, source_kind, direction, agent)
);

-- The state as people know it, at a moment: what is due before it is overdue.
create function state_word(state text, at timestamptz, moment timestamptz) returns text
    language sql immutable parallel safe
    return case when state = 'due' and at < moment then 'overdue'
                when state in ('due', 'undated') then 'scheduled' else state end;

select walls('fact', 'select', 'select, insert, update, delete, truncate');
select walls('rollup', 'select', 'select, insert, update, delete, truncate');
