-- This service's copy of who may do what. Rows come from the topics directory.*; the newest version wins.
create table business (
    business_id uuid primary key,
    version bigint not null,
    name text not null,
    zone text not null,
    settings jsonb not null,
    created_at timestamptz not null,
    deleted_at timestamptz
);

create table member (
    business_id uuid not null,
    id uuid not null,
    version bigint not null,
    name text not null,
    email text not null,
    zone text,
    role_ids uuid[] not null,
    created_at timestamptz not null,
    deleted_at timestamptz,
    primary key (business_id, id)
);
create index member_email on member (business_id, lower(email));

create table role (
    business_id uuid not null,
    id uuid not null,
    version bigint not null,
    name text not null,
    member_ids uuid[] not null,
    permissions jsonb not null,
    created_at timestamptz not null,
    deleted_at timestamptz,
    primary key (business_id, id)
);

create table api_key (
    business_id uuid not null,
    id uuid not null,
    version bigint not null,
    kind text not null,
    name text not null,
    hash text not null,
    scopes text[] not null,
    member_id uuid,
    created_at timestamptz not null,
    expires_at timestamptz,
    revoked_at timestamptz,
    primary key (business_id, id)
);

select walls('business', 'select', 'select, insert, update, delete');
select walls('member', 'select', 'select, insert, update, delete');
select walls('role', 'select', 'select, insert, update, delete');
select walls('api_key', '', 'select, insert, update, delete');

-- Look-up happens before the business is known: its role sees all rows, of these columns alone.
grant select (business_id, zone, deleted_at) on business to {keys};
grant select (business_id, id, deleted_at) on member to {keys};
grant select (business_id, id, kind, hash, scopes, member_id, expires_at, revoked_at) on api_key to {keys};
create policy key_lookup on business for select to {keys} using (true);
create policy key_lookup on member for select to {keys} using (true);
create policy key_lookup on api_key for select to {keys} using (true);
