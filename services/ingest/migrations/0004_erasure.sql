-- Records whose person is being erased: how far the blanking of their conversations has come.
create table erasure (
    business_id uuid not null,
    record_id uuid not null,
    erased_at timestamptz not null,
    after_interaction_id uuid not null default '00000000-0000-0000-0000-000000000000',
    finished_at timestamptz,
    primary key (business_id, record_id)
);
select walls('erasure', '', 'select, insert, update');
