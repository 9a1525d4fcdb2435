-- When this copy was last known to be up to date: its age outlives a restart.
create table access_copy (
    one boolean primary key default true check (one),
    fresh_at timestamptz not null
);
grant select, insert, update on access_copy to {worker};
