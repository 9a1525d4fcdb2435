-- A replay that tells an endpoint what others of its business were told before it was there (backfill); passed: how many
-- of those it looked at were not for that endpoint, or had been told to it.
alter table replay
    add column backfill boolean not null default false,
    add column passed int not null default 0;
