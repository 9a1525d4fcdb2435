-- A later version of an activity is written as an insert that finds its row by the key; only what really becomes a new
-- row has to have version 1.
drop trigger activity_begins on activity;
create trigger activity_begins after insert on activity for each row when (new.version <> 1) execute function refuse_gap();
