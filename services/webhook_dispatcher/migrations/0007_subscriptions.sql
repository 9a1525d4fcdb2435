-- What an endpoint subscribes to in more detail, and endpoints that nobody made by hand.
-- kind: own (made by its owner), object (of an activity object with a webhook_url), listener (a developer's machine).
alter table endpoint
    add column record_objects text[] not null default '{}',
    add column expression text not null default '',
    add column body_form text not null default 'full',
    add column kind text not null default 'own',
    add column activity_object_id uuid,
    add column activity_object_version int not null default 0,
    add column polled_at timestamptz,
    add constraint endpoint_body_form check (body_form in ('full', 'thin')),
    add constraint endpoint_kind check (kind in ('own', 'object', 'listener')),
    add constraint endpoint_of_object check ((kind = 'object') = (activity_object_id is not null));

-- Expressions that had no answer for a body: how often since the endpoint was made, and why the last time.
create table filter_failure (
    business_id uuid not null,
    endpoint_id uuid not null,
    failures bigint not null,
    last_error text not null,
    last_at timestamptz not null,
    primary key (business_id, endpoint_id)
);
select walls('filter_failure', 'select', 'select, insert, update, delete');
grant insert on endpoint, endpoint_secret to {worker};
