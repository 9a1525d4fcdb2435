-- Look-up of a caller also tells what the roles of the member behind it allow.
grant select (role_ids) on member to {keys};
grant select (business_id, id, permissions, deleted_at) on role to {keys};
create policy key_lookup on role for select to {keys} using (true);
