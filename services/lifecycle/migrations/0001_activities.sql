-- Activities: their current row, every version of them, and what became of each report.

create table activity_object (
    business_id uuid not null,
    id uuid not null,
    version int not null,
    api_name text not null,
    position int not null,
    deleted_at timestamptz,
    document bytea not null,              -- the event activity.object
    primary key (business_id, id),
    unique (business_id, api_name)
);
select walls('activity_object', 'select, insert', 'select, insert, update');

-- What decisions, filters and lists need; the whole activity is the history's document of the same version.
create table activity (
    business_id uuid not null,
    activity_id uuid not null,
    version int not null,
    type_id uuid not null,
    heard smallint not null default 0,    -- how it was logged: 1 a report's `complete`, 2 `log`, 3 both, 4 a request
    said bigint not null default 0,       -- who gave each field: 2 bits a field (domain/held.py)
    appends_count smallint not null default 0,
    assignee_member_id uuid,
    assignee_role_id uuid,
    created_at timestamptz not null,
    planned_at timestamptz,
    due_at timestamptz,
    occurred_at timestamptz,
    logged_at timestamptz,
    completed_at timestamptz,
    cancelled_at timestamptz,
    retracted_at timestamptz,
    deleted_at timestamptz,
    search text,                          -- planned ones only: lists of scheduled activities search in it
    primary key (business_id, activity_id),
    check (logged_at is null or cancelled_at is null),
    check (completed_at is null or logged_at is not null),
    check ((logged_at is null) = (heard = 0))
);
create index activity_planned on activity (business_id, due_at, activity_id) where planned_at is not null and deleted_at is null;
select walls('activity', 'select, insert, update', 'select, insert, update');

create table history (
    business_id uuid not null,
    activity_id uuid not null,
    version int not null,
    type text not null,
    recorded_at timestamptz not null,
    document bytea not null,              -- the event of this version: the full activity, and what changed, by whom, why
    primary key (business_id, activity_id, version)
);
select walls('history', 'select, insert', 'select, insert');

create table activity_append (
    business_id uuid not null,
    activity_id uuid not null,
    id uuid not null,
    at timestamptz not null,
    document bytea not null,
    primary key (business_id, activity_id, id)
);
select walls('activity_append', 'select, insert', 'select, insert');

-- What became of each report. `waiting` is followed by another outcome; the others are final.
create table admission (
    business_id uuid not null,
    receipt_id uuid not null,
    activity_id uuid not null,
    outcome text not null,
    version int,
    reasons jsonb,
    primary key (business_id, receipt_id)
);
select walls('admission', 'select, update', 'select, insert, update');

-- Reports that wait for their activity. `seen_version` is the version they did not suit; 0: there was none.
create table waiting (
    business_id uuid not null,
    activity_id uuid not null,
    receipt_id uuid not null,
    seen_version int not null,
    received_at timestamptz not null,
    document bytea not null,
    primary key (business_id, activity_id, receipt_id)
);
select walls('waiting', 'select, update, delete', 'select, insert, update, delete');

-- A copy of what records there are, so that a reference to none can be refused.
create table record (
    business_id uuid not null,
    id uuid not null,
    version bigint not null,
    object text not null,
    name text not null,
    deleted_at timestamptz,
    primary key (business_id, id)
);
select walls('record', 'select', 'select, insert, update');

create function refuse_change() returns trigger language plpgsql as $$
begin
    raise exception '% is append-only: % is refused', tg_table_name, lower(tg_op) using errcode = 'integrity_constraint_violation';
end $$;

create trigger history_stays before update or delete or truncate on history execute function refuse_change();
create trigger append_stays before update or delete or truncate on activity_append execute function refuse_change();
create trigger activity_stays before delete or truncate on activity execute function refuse_change();

create function refuse_gap() returns trigger language plpgsql as $$
begin
    raise exception 'activity %: a new one has version 1, not %', new.activity_id, new.version
        using errcode = 'integrity_constraint_violation';
end $$;
create trigger activity_begins before insert on activity for each row when (new.version <> 1) execute function refuse_gap();

-- Versions follow each other; what was logged stays as it was logged. Besides appends, retraction, deletion and its
-- restore, two things touch a logged row, each once: a plan that comes late fills what is absent, and the second of
-- `complete` and `log` in the reports of one activity adds its word (then `heard` is 3).
create function keep_word() returns trigger language plpgsql as $$
declare
    late_plan boolean := old.planned_at is null and new.planned_at is not null;
    second_word boolean := old.heard in (1, 2) and new.heard = 3;
    problem text;
begin
    if new.version <> old.version + 1 then
        problem := format('version %s cannot follow %s', new.version, old.version);
    elsif (new.business_id, new.activity_id, new.created_at) is distinct from (old.business_id, old.activity_id, old.created_at) then
        problem := 'business_id, activity_id and created_at never change';
    elsif old.planned_at is not null and new.planned_at is distinct from old.planned_at then
        problem := 'planned_at never changes';
    elsif new.appends_count < old.appends_count or new.appends_count > old.appends_count + 1 then
        problem := 'appends are added one by one and never removed';
    elsif old.retracted_at is not null and new.retracted_at is null or old.retracted_at < new.retracted_at then
        problem := 'a retraction is not taken back';
    elsif old.logged_at is null then
        null;
    elsif new.logged_at is null then
        problem := 'logged never returns to scheduled';
    elsif second_word then
        null;
    elsif (new.heard, new.type_id, new.occurred_at, new.logged_at)
            is distinct from (old.heard, old.type_id, old.occurred_at, old.logged_at) then
        problem := 'what was logged stays as it was logged';
    elsif late_plan then
        if old.due_at <> new.due_at or old.completed_at <> new.completed_at or old.search <> new.search
                or old.assignee_member_id <> new.assignee_member_id or old.assignee_role_id <> new.assignee_role_id then
            problem := 'a plan that comes late fills only what is absent';
        end if;
    elsif (new.said, new.due_at, new.completed_at, new.search, new.assignee_member_id, new.assignee_role_id)
            is distinct from (old.said, old.due_at, old.completed_at, old.search, old.assignee_member_id, old.assignee_role_id) then
        problem := 'what was logged stays as it was logged';
    end if;
    if problem is not null then
        raise exception 'activity %: %', old.activity_id, problem using errcode = 'integrity_constraint_violation';
    end if;
    return new;
end $$;
create trigger activity_keeps_its_word before update on activity for each row execute function keep_word();
