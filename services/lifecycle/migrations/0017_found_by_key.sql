-- Where a business was not counted yet, the planner takes every index that begins with it for as good as the key. These
-- offer themselves only to those who ask for what they are for.
drop index asked_value_request;
create index asked_value_request on asked_value (business_id, request_id) where request_id is not null;
create index restricted_hidden on restricted (business_id) where privacy <> 'public';
