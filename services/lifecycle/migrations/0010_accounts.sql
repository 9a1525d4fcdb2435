-- Which activities are linked to an account: S2 lists them by it. A row counts while its version is the activity's own,
-- so that nothing has to be taken away when a link is. `account_id` of all accounts: zeros.
create table account_activity (
    business_id uuid not null,
    account_id uuid not null,
    activity_id uuid not null,
    version int not null,
    at timestamptz not null,
    primary key (business_id, account_id, activity_id)
);
create index account_activity_newest on account_activity (business_id, account_id, at desc, activity_id desc);
select walls('account_activity', 'select, insert, update', 'select, insert, update');

insert into account_activity (business_id, account_id, activity_id, version, at)
select distinct on (a.business_id, account_id, a.activity_id) a.business_id,
    case when (link ->> 'all')::boolean then '00000000-0000-0000-0000-000000000000' else (link ->> 'record_id')::uuid end
        as account_id,
    a.activity_id, a.version, (state ->> 'at')::timestamptz
from activity a
join history h using (business_id, activity_id, version),
    lateral (select convert_from(h.document, 'UTF8')::jsonb -> 'activity') as found (state),
    lateral jsonb_array_elements(state -> 'links') as link
where h.document is not null and state ? 'links' and link ->> 'object' = 'account'
    and (link ->> 'record_id' is not null or (link ->> 'all')::boolean);

-- Activities that not everybody may see. `member_ids`: who takes part; `team`: whoever shares a role with the creator too.
create table restricted (
    business_id uuid not null,
    activity_id uuid not null,
    privacy text not null check (privacy in ('public', 'private', 'team')),
    creator_id uuid,
    member_ids uuid[] not null,
    primary key (business_id, activity_id)
);
select walls('restricted', 'select, insert, update', 'select, insert, update');

create table comment (
    business_id uuid not null,
    activity_id uuid not null,
    id uuid not null,
    at timestamptz not null,
    document bytea,                       -- null: erased
    primary key (business_id, activity_id, id)
);
select walls('comment', 'select, insert', 'select, insert');
grant update (document) on comment to {worker};

create function keep_comment() returns trigger language plpgsql as $$
declare
    erased comment := old;
begin
    erased.document := null;
    if old.document is null or new is distinct from erased or not exists (
        select from activity a where a.business_id = old.business_id and a.activity_id = old.activity_id
            and a.erased_at is not null
    ) then
        raise exception 'comment is append-only: update is refused' using errcode = 'integrity_constraint_violation';
    end if;
    return new;
end $$;
create trigger comment_keeps_its_word before update on comment for each row execute function keep_comment();
create trigger comment_stays before delete or truncate on comment execute function refuse_change();

-- Who is to be told, and of what; sending is somebody else's.
create table notification (
    business_id uuid not null,
    id uuid not null,
    member_id uuid not null,
    kind text not null,
    activity_id uuid not null,
    comment_id uuid,
    created_at timestamptz not null,
    primary key (business_id, member_id, id)
);
select walls('notification', 'select, insert', 'select, insert');
