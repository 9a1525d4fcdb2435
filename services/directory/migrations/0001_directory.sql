-- The truth about who may do what. Look-up reads the same columns here as in every service's copy (libs/access).
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
create unique index member_email on member (business_id, lower(email)) where deleted_at is null;
create index member_order on member (business_id, created_at desc, id desc);

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
create index role_order on role (business_id, created_at desc, id desc);
create index api_key_order on api_key (business_id, created_at desc, id desc);

create table record_object (
    business_id uuid not null,
    id uuid not null,
    version bigint not null,
    name text not null,
    api_name text not null,
    statuses text[] not null,
    created_at timestamptz not null,
    deleted_at timestamptz,
    primary key (business_id, id),
    unique (business_id, api_name)
);

create table record (
    business_id uuid not null,
    id uuid not null,
    version bigint not null,
    object text not null,
    external_ref text,
    name text not null,
    status text,
    owner_id uuid,
    fields jsonb not null,
    created_at timestamptz not null,
    updated_at timestamptz not null,
    deleted_at timestamptz,
    primary key (business_id, id)
);
-- That a ref names one record needs no index of its own: the id is derived from object and ref (libs/contracts/ids.py).
-- A second unique index would be broken by two writers of one ref at once, whom `on conflict (business_id, id)` settles.
create index record_order on record (business_id, object, created_at desc, id desc) where deleted_at is null;

select walls('business', 'select, insert, update', 'select, insert, update, delete');
select walls('member', 'select, insert, update', 'select, insert, update, delete');
select walls('role', 'select, insert, update', 'select, insert, update, delete');
select walls('api_key', 'select, insert, update', 'select, insert, update, delete');
select walls('record_object', 'select, insert, update', 'select, insert, update, delete');
select walls('record', 'select, insert, update', 'select, insert, update, delete');

-- Look-up happens before the business is known: its role sees all rows, of these columns alone.
grant select (business_id, zone, deleted_at) on business to {keys};
grant select (business_id, id, deleted_at) on member to {keys};
grant select (business_id, id, kind, hash, scopes, member_id, expires_at, revoked_at) on api_key to {keys};
create policy key_lookup on business for select to {keys} using (true);
create policy key_lookup on member for select to {keys} using (true);
create policy key_lookup on api_key for select to {keys} using (true);
