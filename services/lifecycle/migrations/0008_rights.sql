-- Whose an activity is and what it is about, so that lists show what their reader may see and nothing else.
alter table activity add column own uuid[] not null default '{}';     -- members who made, logged or did it
alter table activity add column linked uuid[] not null default '{}';  -- the records it is about

alter table activity disable trigger activity_keeps_its_word;
update activity a
set own = array(
        select distinct (person ->> 'member_id')::uuid
        from jsonb_array_elements(jsonb_build_array(
            h.content -> 'created_by', h.content -> 'logged_by', h.content -> 'actor')) as person
        where person ->> 'member_id' is not null),
    linked = array(
        select distinct (link ->> 'record_id')::uuid from jsonb_array_elements(h.content -> 'links') as link
        where link ->> 'record_id' is not null)
from (select business_id, activity_id, version, convert_from(document, 'UTF8')::jsonb -> 'activity' as content
      from history where document is not null) as h
where h.business_id = a.business_id and h.activity_id = a.activity_id and h.version = a.version;
alter table activity enable trigger activity_keeps_its_word;

-- Records that are for the members of some roles only, and those that another one stands for since they were merged.
alter table record add column visible_role_ids uuid[] not null default '{}';
alter table record add column merged_into uuid;
create index record_guarded on record (business_id) where visible_role_ids <> '{}';
create index record_merged on record (business_id, merged_into) where merged_into is not null;
