-- Whose an activity is, with whom its type is shared, who sees a record, and which record stands for it since a merge.
alter table activity_head
    add column assignee_member_id uuid,
    add column assignee_role_id uuid,
    add column own uuid[] not null default '{}';
alter table activity_object
    add column selected bool not null default false,    -- shared with these members and roles only
    add column shared_member_ids uuid[] not null default '{}',
    add column shared_role_ids uuid[] not null default '{}';
alter table record
    add column visible_role_ids uuid[] not null default '{}',
    add column merged_into uuid;
create index record_guarded on record (business_id) where visible_role_ids <> '{}';
create index record_merged on record (business_id, merged_into) where merged_into is not null;
