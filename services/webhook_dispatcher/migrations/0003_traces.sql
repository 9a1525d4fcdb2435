-- The trace (W3C traceparent) that a delivery of this event goes on with; null: none.
alter table event add column traceparent text;
