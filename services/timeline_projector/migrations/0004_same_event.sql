-- Which other reports tell of the event that a line shows, as JSON. Those have no entries: they are shown here.
alter table activity_head add column same text;
