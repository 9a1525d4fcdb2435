-- That a report was accepted, for good: one narrow row each. The receipt's id is derived from source and source_ref,
-- so the primary key is the only index that a look-up by either needs.
create table report_identity (
    business_id uuid not null,
    receipt_id uuid not null,
    activity_id uuid not null,
    hash bytea not null,              -- SHA-256 over the report as sent, see domain.HASH_FORMAT
    hash_format smallint not null,
    received_at timestamptz not null,
    primary key (business_id, receipt_id)
);

-- What became of it, as lifecycle answered. Forgotten after 90 days, see forgetting.py.
create table report_outcome (
    business_id uuid not null,
    receipt_id uuid not null,
    outcome text not null check (outcome in ('applied', 'unchanged', 'waiting', 'refused', 'set_aside')),
    version int,
    reasons jsonb not null,
    answered_at timestamptz not null,
    primary key (business_id, receipt_id)
);
-- BRIN columns are independent: this finds old rows of all businesses, at next to no cost for the insert.
create index report_outcome_age on report_outcome using brin (business_id, answered_at) with (pages_per_range = 32, autosummarize = on);

-- Accepted minus answered is what is pending. Two tables, so that routes and the handler never wait for each other.
create table report_accepted (
    business_id uuid primary key,
    reports bigint not null
) with (fillfactor = 10);

create table report_answered (
    business_id uuid primary key,
    reports bigint not null
) with (fillfactor = 10);

create table source (
    business_id uuid not null,
    name text not null,
    first_seen_at timestamptz not null,
    primary key (business_id, name)
);

select walls('report_identity', 'select, insert', 'select');
select walls('report_outcome', 'select', 'select, insert, update, delete');
select walls('report_accepted', 'select, insert, update', 'select');
select walls('report_answered', 'select', 'select, insert, update');
select walls('source', 'select, insert', 'select');
