-- What a member is told of who does not see everything: what is assigned to the member or to its roles, and its own, is
-- found here row by row; whole kinds and types that the member sees come from the roll-ups, by the names of the types
-- (null: not heard since this migration; `republish lifecycle` fills it, until then those facts are looked at one by one).
alter table activity_object add column api_name text;
create index fact_of_member on fact (business_id, assignee_member_id, at) where counted and assignee_member_id is not null;
create index fact_of_role on fact (business_id, assignee_role_id, at) where counted and assignee_role_id is not null;
create index fact_own on fact (business_id, (own[1]), at) where counted and own[1] is not null;
create index fact_own_second on fact (business_id, (own[2]), at) where counted and own[2] is not null;
create index fact_own_third on fact (business_id, (own[3]), at) where counted and own[3] is not null;
create index fact_own_others on fact (business_id, at) where counted and own[4] is not null;
create index fact_untold on fact (business_id, at) where counted and type_id is null;
create index interaction_fact_agent on interaction_fact (business_id, agent_id, at) where counted and agent_id is not null;
create index interaction_fact_untold on interaction_fact (business_id, at) where counted and type_id is null;
