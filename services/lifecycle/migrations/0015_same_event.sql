-- Two reports of one event: where activities are looked for that may be the same, what people said of pairs by hand, and
-- which activities are to be looked at again because one that they may belong to was in somebody else's hands.

alter table activity add column same_as uuid;  -- the activity that is shown and counted for this one
create index activity_same_as on activity (business_id, same_as) where same_as is not null;

-- Written only for businesses that want events recognised. `place`: a record that it is about, or its conversation.
create table recognisable (
    business_id uuid not null,
    activity_id uuid not null,
    place uuid not null,
    teller text not null,
    starts_at timestamptz not null,
    ends_at timestamptz not null,
    primary key (business_id, activity_id, place)
);
create index recognisable_near on recognisable (business_id, place, starts_at);
select walls('recognisable', 'select, insert, update', 'select, insert, update');

-- The lower id is `one_id`.
create table same_verdict (
    business_id uuid not null,
    one_id uuid not null,
    other_id uuid not null,
    is_same bool not null,
    by_member uuid,
    at timestamptz not null,
    primary key (business_id, one_id, other_id)
);
create index same_verdict_other on same_verdict (business_id, other_id);
select walls('same_verdict', 'select, insert, update', 'select');

create table recheck (
    business_id uuid not null,
    activity_id uuid not null,
    primary key (business_id, activity_id)
);
select walls('recheck', 'insert, select', 'select, insert, delete');
