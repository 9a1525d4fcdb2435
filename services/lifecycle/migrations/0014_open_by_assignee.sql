-- What somebody has still to do is asked for most: it is found without what was done. Logging takes it out of here.
create index activity_open_by_member on activity (business_id, assignee_member_id, due_at, activity_id)
    where planned_at is not null and deleted_at is null and cancelled_at is null and logged_at is null
        and assignee_member_id is not null;
create index activity_open_by_role on activity (business_id, assignee_role_id, due_at, activity_id)
    where planned_at is not null and deleted_at is null and cancelled_at is null and logged_at is null
        and assignee_role_id is not null;
