-- Which record stands for another one since they were merged: it may be for some roles only.
alter table record add column merged_into uuid;
