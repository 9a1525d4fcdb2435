-- Activity objects are changed by requests; options are replaced in what is planned.

grant update on activity_object to {routes};

-- An option that took another's place in a field: how far the search for planned activities that hold it has come.
create table remapping (
    business_id uuid not null,
    id uuid not null,
    object_id uuid not null,
    field_name text not null,
    option_id text not null,
    replacement jsonb,                    -- the option as it is stored, {"id", "name", "code"}
    by_member uuid,
    asked_at timestamptz not null,
    after_activity_id uuid not null default '00000000-0000-0000-0000-000000000000',
    activities int not null default 0,
    finished_at timestamptz,
    primary key (business_id, id)
);
create index remapping_open on remapping (business_id, asked_at) where finished_at is null;
select walls('remapping', 'insert', 'select, update');
