-- Lists of scheduled activities: what they can be found by, in the order they are shown in. `responses`: the logged ones
-- of an object.
create index activity_by_due on activity (business_id, due_at, activity_id)
    where planned_at is not null and deleted_at is null and cancelled_at is null;
create index activity_open_by_due on activity (business_id, due_at, activity_id)
    where planned_at is not null and deleted_at is null and cancelled_at is null and logged_at is null;
create index activity_by_creation on activity (business_id, created_at, activity_id)
    where planned_at is not null and deleted_at is null and cancelled_at is null;
create index activity_by_type on activity (business_id, type_id, due_at, activity_id)
    where planned_at is not null and deleted_at is null and cancelled_at is null;
create index activity_by_member on activity (business_id, assignee_member_id, due_at, activity_id)
    where planned_at is not null and deleted_at is null and cancelled_at is null and assignee_member_id is not null;
create index activity_by_role on activity (business_id, assignee_role_id, due_at, activity_id)
    where planned_at is not null and deleted_at is null and cancelled_at is null and assignee_role_id is not null;
create index activity_logged_by_type on activity (business_id, type_id, logged_at, activity_id)
    where logged_at is not null and deleted_at is null;
drop index activity_planned;
