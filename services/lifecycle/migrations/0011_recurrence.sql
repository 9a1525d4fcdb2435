-- Recurrences: rules, what is left out of them, and of which version of which activity occurrences are copies: their
-- texts stand in that activity's history alone, where they can be erased. `ahead_until`: up to which day the occurrences
-- of a `fixed` one were made; `over`: none are to come.
create table recurrence_series (
    business_id uuid not null,
    id uuid not null,
    mode text not null check (mode in ('one_open', 'fixed')),
    ahead_until date not null,
    over boolean not null,
    document bytea not null,
    primary key (business_id, id)
);
create index recurrence_series_ahead on recurrence_series (business_id, ahead_until) where mode = 'fixed' and not over;
select walls('recurrence_series', 'select, insert, update', 'select, insert, update');
