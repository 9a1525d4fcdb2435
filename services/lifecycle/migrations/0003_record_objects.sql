-- A copy of the kinds of records that businesses made for themselves, so that links to them can be told from mistakes.
create table record_object (
    business_id uuid not null,
    id uuid not null,
    version int not null,
    api_name text not null,
    deleted_at timestamptz,
    primary key (business_id, id)
);
select walls('record_object', 'select', 'select, insert, update');
