-- The history becomes a chain of hashes whose contents can be erased; activities remember that they were erased.

alter table activity add column erased_at timestamptz;

alter table history
    alter column document drop not null,  -- null: erased; `content_hash` then stands for it
    add column by_member uuid,
    add column salt bytea,
    add column hash bytea,
    add column content_hash bytea;
alter table activity_append alter column document drop not null;

-- What links a version to the one before it: the same bytes as services/lifecycle/domain/chain.py. All parts but the
-- last have a fixed length. `previous` of version 1: 32 zero bytes.
create function chain_hash(previous bytea, business_id uuid, activity_id uuid, version int, type text, at timestamptz,
                           by_member uuid, content_hash bytea) returns bytea language sql immutable as $$
    select sha256('\x01'::bytea || previous || uuid_send(business_id) || uuid_send(activity_id) || int4send(version)
        || int8send((extract(epoch from at) * 1000000)::bigint)
        || uuid_send(coalesce(by_member, '00000000-0000-0000-0000-000000000000')) || content_hash || convert_to(type, 'UTF8'))
$$;

-- Puts a version into the chain that comes without its place, as from code older than the chain.
create function join_chain() returns trigger language plpgsql as $$
declare
    previous bytea := case new.version when 1 then decode(repeat('00', 32), 'hex') end;
begin
    if previous is null then
        select h.hash into strict previous from history h
        where h.business_id = new.business_id and h.activity_id = new.activity_id and h.version = new.version - 1;
    end if;
    new.by_member := (convert_from(new.document, 'UTF8')::jsonb #>> '{change,by,member_id}')::uuid;
    new.salt := uuid_send(gen_random_uuid());
    new.hash := chain_hash(previous, new.business_id, new.activity_id, new.version, new.type, new.recorded_at,
                           new.by_member, sha256(new.salt || new.document));
    return new;
end $$;

drop trigger history_stays on history;
create trigger history_joins before update on history for each row when (new.hash is null) execute function join_chain();
create index history_joining on history (version);
do $$
begin
    for n in 1 .. (select coalesce(max(version), 0) from history) loop
        update history set hash = null where version = n;
    end loop;
end $$;
drop index history_joining;
drop trigger history_joins on history;
create trigger history_joins before insert on history for each row when (new.hash is null) execute function join_chain();

alter table history
    alter column hash set not null,
    add constraint history_erased_whole
        check ((document is null) = (salt is null) and (document is null) = (content_hash is not null));

-- Of the history only this changes: an earlier version of an erased activity loses its document and its salt, and
-- keeps their hash, so that the chain can still be followed.
create function keep_history() returns trigger language plpgsql as $$
declare
    erased history := old;
begin
    erased.document := null;
    erased.salt := null;
    erased.content_hash := sha256(old.salt || old.document);
    if old.document is null or new is distinct from erased or not exists (
        select from activity a where a.business_id = old.business_id and a.activity_id = old.activity_id
            and a.erased_at is not null and a.version > old.version
    ) then
        raise exception 'history is append-only: update is refused' using errcode = 'integrity_constraint_violation';
    end if;
    return new;
end $$;
create trigger history_keeps_its_word before update on history for each row execute function keep_history();
create trigger history_stays before delete or truncate on history execute function refuse_change();

create function keep_append() returns trigger language plpgsql as $$
declare
    erased activity_append := old;
begin
    erased.document := null;
    if old.document is null or new is distinct from erased or not exists (
        select from activity a where a.business_id = old.business_id and a.activity_id = old.activity_id
            and a.erased_at is not null
    ) then
        raise exception 'activity_append is append-only: update is refused' using errcode = 'integrity_constraint_violation';
    end if;
    return new;
end $$;
drop trigger append_stays on activity_append;
create trigger append_keeps_its_word before update on activity_append for each row execute function keep_append();
create trigger append_stays before delete or truncate on activity_append execute function refuse_change();

grant update (document, salt, content_hash) on history to {worker};
grant update (document) on activity_append to {worker};

-- Versions follow each other; what was logged stays as it was logged. Besides appends, retraction, deletion and its
-- restore, three things touch a logged row: a plan that comes late fills what is absent, once; the second of `complete`
-- and `log` in the reports of one activity adds its word, once (then `heard` is 3); an erasure takes texts away and
-- nothing else.
create or replace function keep_word() returns trigger language plpgsql as $$
declare
    late_plan boolean := old.planned_at is null and new.planned_at is not null;
    second_word boolean := old.heard in (1, 2) and new.heard = 3;
    erased activity := old;
    problem text;
begin
    if new.version <> old.version + 1 then
        problem := format('version %s cannot follow %s', new.version, old.version);
    elsif new.erased_at is distinct from old.erased_at then
        erased.version := new.version;
        erased.erased_at := new.erased_at;
        erased.search := new.search;
        if new.erased_at is null or new.erased_at < old.erased_at then
            problem := 'an erasure is not taken back';
        elsif new is distinct from erased or not starts_with(coalesce(old.search, ''), coalesce(new.search, '')) then
            problem := 'an erasure takes texts away and nothing else';
        end if;
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

-- Records whose person is being erased: how far the search for their activities has come.
create table erasure (
    business_id uuid not null,
    record_id uuid not null,
    erased_at timestamptz not null,
    after_activity_id uuid not null default '00000000-0000-0000-0000-000000000000',
    activities int not null default 0,
    finished_at timestamptz,
    primary key (business_id, record_id)
);
select walls('erasure', '', 'select, insert, update');
