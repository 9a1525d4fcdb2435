-- Look-up of a caller also tells what the roles of the member behind it allow.
grant select (role_ids) on member to {keys};
grant select (business_id, id, permissions, deleted_at) on role to {keys};
create policy key_lookup on role for select to {keys} using (true);

-- Records that are archived, for the members of some roles only, of an account, merged into another one, converted.
alter table record
    add column archived_at timestamptz,
    add column visible_role_ids uuid[] not null default '{}',
    add column account_id uuid,
    add column merged_into uuid,
    add column converted_to uuid;
create index record_account on record (business_id, account_id) where account_id is not null;
create index record_merged on record (business_id, merged_into) where merged_into is not null;
