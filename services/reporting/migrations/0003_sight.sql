-- Who may know of an activity: its type, who has a part in it, the records it is about, and the members who alone may
-- see it (null: everybody) with the one whose colleagues may besides. Rows of before get all that when their activity
-- or conversation is republished; until then (type_id is null) they are counted for those alone who see everything.
alter table fact
    add column type_id uuid,
    add column assignee_member_id uuid,
    add column assignee_role_id uuid,
    add column own uuid[] not null default '{}',
    add column linked uuid[] not null default '{}',
    add column readers uuid[],
    add column team_of uuid;
create index fact_private on fact (business_id, at) where readers is not null and counted;
alter table interaction_fact
    add column type_id uuid,
    add column agent_id uuid,
    add column linked uuid[] not null default '{}';

-- Copies: records, each with the roles whose members alone see it; types, with whom they are shared.
create table record (
    business_id uuid not null,
    id uuid not null,
    version bigint not null,
    visible_role_ids uuid[] not null,
    primary key (business_id, id)
);
create index record_guarded on record (business_id) where visible_role_ids <> '{}';
create table activity_object (
    business_id uuid not null,
    id uuid not null,
    version bigint not null,
    selected bool not null,               -- shared with these members and roles only
    shared_member_ids uuid[] not null,
    shared_role_ids uuid[] not null,
    primary key (business_id, id)
);

select walls('record', 'select', 'select, insert, update, delete, truncate');
select walls('activity_object', 'select', 'select, insert, update, delete, truncate');
