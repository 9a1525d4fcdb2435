-- The members who alone may see an activity (null: everybody), and the one whose colleagues may besides. Rows of before
-- are for everybody, without their texts as ever, until the timeline is rebuilt.
alter table activity_head add column readers uuid[], add column team_of uuid;
create index activity_head_private on activity_head (business_id) where readers is not null;

-- Archived records are in no list; their timelines stay.
alter table record add column archived_at timestamptz;
