-- An erasure that fails is put off with growing waits, so that later ones go on: a claim counts as an attempt, and is
-- taken back when its slice is done.
alter table erasure
    add column attempts int not null default 0,
    add column try_at timestamptz not null default '-infinity';
