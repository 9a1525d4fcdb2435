-- Activities whose texts were erased lately: what is told of their versions before that carries none.
create table erased_activity (
    business_id uuid not null,
    activity_id uuid not null,
    erased_at timestamptz not null,
    primary key (business_id, activity_id)
);
select walls('erased_activity', '', 'select, insert, update, delete');
grant update (body) on event to {worker};
