-- Deliveries that are sent again, and those that a disabled endpoint missed (status missed: kept to be replayed).
-- replay_of: the delivery whose webhook-id it carries; replay_id: the replay that asked for it.
do $$
begin
    execute (select format('alter table delivery drop constraint %I', conname) from pg_constraint
              where conrelid = 'delivery'::regclass and contype = 'u');
end $$;
alter table delivery
    add column replay_of uuid,
    add column replay_id uuid,
    drop constraint delivery_status,
    add constraint delivery_status
        check (status in ('pending', 'delivered', 'exhausted', 'parked', 'cancelled', 'missed')),
    alter column logged_at drop not null,
    drop constraint delivery_only_of_logged,
    add constraint delivery_only_of_logged check (event_type like 'webhook.endpoint.%' or (
        logged_at is not null and event_type in ('activity.logged', 'activity.completed', 'activity.appended')));
create unique index delivery_once on delivery (business_id, activity_id, endpoint_id, event_type, version)
    where replay_of is null;
create index delivery_replayed on delivery (business_id, replay_of) where replay_of is not null;
create index delivery_of_replay on delivery (business_id, replay_id, status) where replay_id is not null;
create index delivery_missed on delivery (business_id, endpoint_id, id) where status = 'missed';
create index delivery_of_type on delivery (business_id, event_type, id) where event_type <> 'activity.logged';

-- Operational events are about an endpoint, and no activity was logged.
alter table event
    alter column logged_at drop not null,
    drop constraint event_only_of_logged,
    add constraint event_only_of_logged check (event_type like 'webhook.endpoint.%' or (
        logged_at is not null and event_type in ('activity.logged', 'activity.completed', 'activity.appended')));
grant insert on event, delivery to {routes};

-- A replay: what it selects, how far it is (after_id: the last delivery looked at), how it ended.
create table replay (
    business_id uuid not null,
    id uuid not null,
    endpoint_id uuid not null,
    statuses text[] not null,
    event_types text[] not null,
    first_id uuid not null,
    end_id uuid not null,
    only_missed boolean not null,
    status text not null default 'running' check (status in ('running', 'done', 'cancelled')),
    reason text,
    total int not null,
    released int not null default 0,
    expired int not null default 0,
    after_id uuid not null,
    by_key uuid,
    created_at timestamptz not null default now(),
    finished_at timestamptz,
    primary key (business_id, id)
);
create index replay_of_endpoint on replay (business_id, endpoint_id, id);
-- The one index that does not begin with the business: the loop asks for what runs, whosever it is.
create index replay_running on replay (id) where status = 'running';
select walls('replay', 'select, insert, update', 'select, update, delete');

alter table endpoint
    add column last_failed_at timestamptz,
    add column warned_at timestamptz;
