create index erasure_open on erasure (business_id, erased_at) where finished_at is null;
