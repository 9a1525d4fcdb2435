-- An erasure begins when all who could not know of it are done; reports told before it that come later look here.
alter table erasure add column begun_at timestamptz;
create index erasure_since on erasure (business_id, erased_at);
