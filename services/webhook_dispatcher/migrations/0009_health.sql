-- Whether it was announced (topic webhook.endpoint) that an endpoint is disabled; the loop looks for those it was not of.
alter table endpoint add column announced boolean not null default false;
update endpoint set announced = true where status = 'disabled';
create index endpoint_unannounced on endpoint (business_id, id)
    where announced <> (status = 'disabled') and deleted_at is null;
create index endpoint_failing on endpoint (business_id, id) where failing_since is not null and deleted_at is null;
